"""Custom metrics: small classes that compute a number from one record."""

from __future__ import annotations

import math
import numbers
import reprlib
from abc import ABC, abstractmethod
from typing import ClassVar

from efface.errors import EffaceError, summarize_error
from efface.records import Record
from efface.scores.inputs.metric_inputs import MetricInputs, Missing


class RecordMetric(ABC):
    """A number for each question, computed from its record; scores have its mean over the set.

    A class without arguments, found by `plugins=`:

        class Declines(efface.RecordMetric):
            name = "declines"

            def score(self, record):
                return float("i don't know" in record.output.lower())

    Means are reported as `custom`, next to the six metrics of each set, before and after unlearning. Model utility and
    forget efficacy never include them.
    """

    name: ClassVar[str]
    """Its name in results: lower-case letters, digits, `-` and `_`; not the name of a built-in metric."""

    @abstractmethod
    def score(self, record: Record) -> float | None:
        """Score one question.

        Args:
            record: The model's output and likelihoods for it.

        Returns:
            A finite number of any range; None if this record has none. A single None makes the set's mean None, too:
            a mean over fewer questions would not be comparable.
        """
        ...


def custom_score(metric: RecordMetric, record: Record) -> float | Missing:
    """Apply a custom metric to one record.

    Args:
        metric: The metric.
        record: The record.

    Returns:
        A finite number, or why there is none.

    Raises:
        EffaceError: When the metric fails or returns something that is not a finite number.
    """
    where = f"metric {metric.name!r}, set {record.set}, question {record.id}"
    try:
        value = metric.score(record)
    except Exception as error:  # user code may raise anything
        raise EffaceError(f"{where}: it failed ({summarize_error(error)}); correct its method score") from error
    if value is None:
        return Missing("the metric returns None")
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise EffaceError(
            f"{where}: it returned {reprlib.repr(value)}; return a finite number, or None where there is none"
        )
    return float(value)


def find_custom_score(inputs: MetricInputs, metric: str) -> float | Missing:
    """Look up a custom metric of one question.

    Args:
        inputs: The question.
        metric: Name of the metric.

    Returns:
        Its number, or why there is none.
    """
    return inputs.custom.get(
        metric, Missing("an eval log has no records, and custom metrics are computed from records")
    )
