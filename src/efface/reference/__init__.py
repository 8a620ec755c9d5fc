"""The model before unlearning -> what objectives compare with: log-probabilities, hidden states or a live model."""
