"""Confidence intervals of shares. No torch."""

from __future__ import annotations

import math

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: two-sided intervals of 95 %."""


def wilson(count: int, n: int) -> tuple[float, float]:
    """Compute the 95 % score interval of a share; E. B. Wilson, JASA 22 (1927), 209-212.

    Args:
        count: How many of `n`, from 0 to `n`.
        n: Number of trials.

    Returns:
        Lowest and highest share that are consistent with the count, in [0, 1]; (0, 1) without trials.
    """
    if n == 0:
        return 0.0, 1.0
    share, z2 = count / n, Z95**2
    center = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low = 0.0 if count == 0 else max(0.0, center - half)
    high = 1.0 if count == n else min(1.0, center + half)
    return low, high
