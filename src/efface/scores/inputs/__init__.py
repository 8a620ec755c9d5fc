"""Records, and eval logs of other tools -> the inputs of the metrics."""
