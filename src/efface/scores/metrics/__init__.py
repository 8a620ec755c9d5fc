"""The six metrics of one question. No torch."""
