"""Means and sums that do not overflow, underflow or depend on the order of their terms."""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean; `values` is not empty. Summed exactly, so any order gives the same last digit."""
    return math.fsum(values) / len(values)


def harmonic_mean(values: Sequence[float]) -> float:
    """Harmonic mean of numbers >= 0; `values` is not empty. One zero makes it zero."""
    if min(values) == 0:
        return 0.0
    return len(values) / math.fsum(1 / value for value in values)


def log_sum_exp(logs: Sequence[float]) -> float:
    """log(sum(exp(logs))), where exp would underflow too; -inf stands for a term of zero, but not alone."""
    top = max(logs)
    return top + math.log(math.fsum(math.exp(log - top) for log in logs))
