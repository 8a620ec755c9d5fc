"""The attacks, one per file: a model and facts -> rows."""
