"""Means and sums that do not overflow, underflow or depend on the order of their terms."""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean; `values` is not empty. Summed exactly, so any order gives the same last digit."""
    return math.fsum(values) / len(values)


def harmonic_mean(values: Sequence[float]) -> float:
    """Harmonic mean of numbers >= 0; `values` is not empty. One zero makes it zero."""
    least = min(values)
    if least == 0:
        return 0.0
    return len(values) * least / math.fsum(least / value for value in values)  # 1 / value could overflow


def log_sum_exp(logs: Sequence[float]) -> float:
    """Log of the sum of exp(logs), also where exp underflows; -inf stands for a zero, but not for all of them."""
    top = max(logs)
    return top + math.log(math.fsum(math.exp(log - top) for log in logs))


def log_mean_exp(logs: Sequence[float]) -> float:
    """Log of the arithmetic mean of exp(logs); `logs` is not empty."""
    return log_sum_exp(logs) - math.log(len(logs))
