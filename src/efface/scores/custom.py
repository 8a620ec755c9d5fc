"""A custom metric: a small class that computes a number from one record."""

from __future__ import annotations

import math
import numbers
import reprlib
from abc import ABC, abstractmethod
from typing import ClassVar

from efface.artifacts import Record
from efface.errors import EffaceError, summarize_error
from efface.scores.question import MetricInputs, Missing


class RecordMetric(ABC):
    """A number for each question, made from what the model said and believes about it; scores hold its mean.

    A class without arguments, found by `plugins=`:

        class Declines(efface.RecordMetric):
            name = "declines"

            def score(self, record):
                return float("i don't know" in record.output.lower())

    Means stand as `own` beside the six metrics of each set, before and after unlearning. Model utility and forget
    efficacy never count them.
    """

    name: ClassVar[str]
    """What results call it: lower-case letters, digits, `-` and `_`, and no name of a built-in metric."""

    @abstractmethod
    def score(self, record: Record) -> float | None:
        """A finite number, of any range; None where this record does not say.

        One None makes the set's mean None, too: a mean over fewer questions would be another number.
        """
        ...


def custom_score(metric: RecordMetric, record: Record) -> float | Missing:
    """What a user's metric makes of one record. Raises `EffaceError` where it fails or gives no finite number."""
    here = f"metric {metric.name!r}, set {record.set}, question {record.id}"
    try:
        value = metric.score(record)
    except Exception as error:  # the user's code raises what it likes
        raise EffaceError(f"{here}: it failed ({summarize_error(error)}); correct its method score") from error
    if value is None:
        return Missing("the metric gives none")
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise EffaceError(f"{here}: it gave {reprlib.repr(value)}; let it return a finite number, or None for none")
    return float(value)


def custom_score_of(question: MetricInputs, metric: str) -> float | Missing:
    """A user's metric of one question, or why it is not there."""
    return question.custom.get(
        metric, Missing("an eval log has no records, and custom metrics are computed from records")
    )
