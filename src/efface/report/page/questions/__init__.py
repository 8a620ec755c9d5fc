"""The questions of a run with a model's answers, their scores, and which were forgotten. No torch."""
