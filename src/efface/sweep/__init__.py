"""A grid of settings -> one run per combination, made only once, and one table."""
