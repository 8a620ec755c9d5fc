"""A model and questions -> one record per question: output, log-probabilities, embeddings, entailment."""
