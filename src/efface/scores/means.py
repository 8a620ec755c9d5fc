"""Means and sums that do not overflow, underflow or depend on the order of their terms."""

from __future__ import annotations

import math
from collections.abc import Sequence


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean of at least one value. Summed exactly, so that any order gives the same last digit."""
    return math.fsum(values) / len(values)


def harmonic_mean(values: Sequence[float]) -> float:
    """Harmonic mean of at least one number >= 0; 0 if one of them is 0."""
    least = min(values)
    if least == 0:
        return 0.0
    return len(values) * least / math.fsum(least / value for value in values)  # 1 / value could overflow


def log_sum_exp(logs: Sequence[float]) -> float:
    """Log of the sum of exp(logs), also where exp underflows; some of `logs`, but not all, may be -inf."""
    top = max(logs)
    return top + math.log(math.fsum(math.exp(log - top) for log in logs))


def log_mean_exp(logs: Sequence[float]) -> float:
    """Log of the arithmetic mean of exp(logs), of which there is at least one."""
    return log_sum_exp(logs) - math.log(len(logs))
