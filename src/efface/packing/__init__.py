"""Many sequences in one forward: packed where the model allows it, else in rows of like length."""
