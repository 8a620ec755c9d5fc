"""A model in memory -> its scores on tasks of lm-evaluation-harness."""
