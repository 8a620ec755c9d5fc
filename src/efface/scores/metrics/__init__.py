"""One record -> the value of one metric. No torch."""
