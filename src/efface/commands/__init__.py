"""The settings of one command -> its work with one model, or with the folder of a run: verify, purge, reproduce."""
