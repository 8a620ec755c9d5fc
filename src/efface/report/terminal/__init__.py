"""Scores, answers and comparisons as tables in the terminal, readable at 80 columns. No torch."""
