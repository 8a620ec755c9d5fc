"""Additional metrics, which records name because their benchmark is scored by them; part of no aggregate."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from efface.artifacts import ExtraMetric
from efface.records import Record
from efface.scores.inputs.metric_inputs import Missing
from efface.scores.metrics.membership import min_k_score
from efface.scores.metrics.rouge import rouge_l_f1

_EXTRA: Mapping[ExtraMetric, Callable[[Record], float]] = {
    "min_k": lambda record: min_k_score(record.answer_logprobs),
    "rouge_l_f1": lambda record: rouge_l_f1(record.answer, record.output),
}


def extra_scores(record: Record) -> dict[str, float | Missing]:
    """Compute the additional metrics that a record names.

    Args:
        record: The output of a model for one question, and its log-probabilities.

    Returns:
        Metric -> its value.
    """
    return {name: _EXTRA[name](record) for name in record.extra_metrics}
