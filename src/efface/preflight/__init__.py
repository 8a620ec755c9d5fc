"""The settings of a run -> whether it can start and what it costs, before anything is trained: doctor, dry run."""
