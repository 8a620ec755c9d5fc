"""A model, an objective and items -> trained weights: sampling, one optimizer step, the loop, checkpoints."""
