"""Outputs and reference answers -> what judges say: entailment, key facts, embeddings, readable text."""
