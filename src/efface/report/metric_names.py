"""Headings of metrics and aggregates in tables, in the terminal and on the page."""

from efface.artifacts import Metric

METRIC_NAMES: dict[Metric, str] = {
    "rouge": "ROUGE",
    "probability": "Probability",
    "truth_ratio": "Truth ratio",
    "token_entropy": "Token entropy",
    "cosine_similarity": "Cosine similarity",
    "entailment": "Entailment",
}
UNCOUNTED_NAMES = {
    "extraction_strength": "Extraction strength",
    "exact_memorization": "Exact memorization",
    "not_gibberish": "Not gibberish",
    "truth_ratio_prob_mean": "Truth ratio, prob_mean",
    "rouge_1_recall": "ROUGE-1 recall",
}
"""Built-in metrics that no aggregate includes; custom ones have their own names."""
AGGREGATE_NAMES = {
    "model_utility": "Model utility",
    "model_utility_retain": "Utility on retain",
    "forget_efficacy": "Forget efficacy",
}
