"""The base of the files' types, and the names of the metrics. No torch."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel

Metric = Literal["rouge", "probability", "truth_ratio", "token_entropy", "cosine_similarity", "entailment"]
METRICS: tuple[Metric, ...] = get_args(Metric)
UncountedMetric = Literal[
    "extraction_strength", "exact_memorization", "not_gibberish", "truth_ratio_prob_mean", "rouge_1_recall"
]
"""A metric that no aggregate includes; of a set that has it."""
UNCOUNTED_METRICS: tuple[UncountedMetric, ...] = get_args(UncountedMetric)
ExtraMetric = Literal["min_k", "rouge_l_f1"]
"""A metric that is computed for the sets of some benchmarks alone, in addition to the six; part of no aggregate."""


class Artifact(BaseModel, extra="forbid", populate_by_name=True):
    """The base of everything here: unknown fields are refused; aliases are the keys on disk."""


def without_empty(values: dict[str, Any], field: str) -> dict[str, Any]:
    """`values` without a field that is empty.

    Args:
        values: Field -> value.
        field: Name of the field.
    """
    return {name: value for name, value in values.items() if value or name != field}
