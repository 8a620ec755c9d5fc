"""The state of a training, on disk: its files, when and how they are written, and how they are read."""
