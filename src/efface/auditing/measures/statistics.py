"""Intervals, tests and curves of an audit: arrays of hits and scores -> numbers. No torch."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from efface.scores.leaderboard.bootstrap import LEVEL, draw_counts

Array = NDArray[np.float64]
DRAWS = 10_000
"""Resamples of an interval, and sign flips of a test."""
LEAST_SUBJECTS = 10
"""With as many subjects, the interval of an excess takes subjects as independent; with fewer, questions."""
_CHUNK = 1 << 22
"""The most numbers of resamples in memory at once: 32 MiB."""


@dataclass(frozen=True)
class Excess:
    """How much more often facts came back than from a control, and the 95 % interval of that."""

    value: float
    """Mean difference, in [-1, 1]."""
    low: float
    high: float
    by_subject: bool
    """Whether the interval takes subjects as independent, not questions."""


def rate_interval(hits: int, n: int) -> tuple[float, float]:
    """Interval of a rate by Clopper and Pearson (1934), which covers the true rate in at least 95 % of samples.

    Args:
        hits: How many of the facts came back.
        n: Number of facts; at least 1.

    Returns:
        Lower and upper limit, in [0, 1].

    Raises:
        ValueError: `hits` is not between 0 and `n`, or `n` is 0.
    """
    _check_counts(hits, n)
    tail = (1 - LEVEL) / 2
    low = 0.0 if hits == 0 else float(special.betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(special.betaincinv(hits + 1, n - hits, 1 - tail))
    return low, high


def paired_interval(both: float, first: float, second: float, neither: float) -> tuple[float, float]:
    """Interval of the difference of two proportions of the same facts, p1 - p2: Newcombe (1998), method 10.

    "Improved confidence intervals for the difference between binomial proportions based on paired data", Statistics in
    Medicine 17, 2635-2650. With Wilson's limits l and u of each proportion, and a, b, c, d for the four counts,

        low  = p1 - p2 - sqrt((p1 - l1)^2 - 2 phi (p1 - l1) (u2 - p2) + (u2 - p2)^2)
        high = p1 - p2 + sqrt((u1 - p1)^2 - 2 phi (u1 - p1) (p2 - l2) + (p2 - l2)^2)
        phi  = (ad - bc) / sqrt((a + b) (c + d) (a + c) (b + d))

    where a positive ad - bc is less by n/2, but not below 0; phi is 0 where the product below it is. Hence the interval
    has a width even if no fact differs.

    Args:
        both: a, how many facts came back from both models; parts of facts are possible.
        first: b, from the first alone.
        second: c, from the second alone.
        neither: d, from neither.

    Returns:
        Lower and upper limit, in [-1, 1].
    """
    n = both + first + second + neither
    of_first, of_second = both + first, both + second
    p1, p2 = of_first / n, of_second / n
    (l1, u1), (l2, u2) = _wilson(of_first, n), _wilson(of_second, n)
    product = both * neither - first * second
    if product > 0:
        product = max(product - n / 2, 0)
    margins = of_first * (n - of_first) * of_second * (n - of_second)
    phi = product / math.sqrt(margins) if margins > 0 else 0.0
    below = math.sqrt((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2)
    above = math.sqrt((u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2)
    return max(p1 - p2 - below, -1.0), min(p1 - p2 + above, 1.0)


def _wilson(hits: float, n: float) -> tuple[float, float]:
    """Interval of a rate by Wilson (1927)."""
    z = float(special.ndtri((1 + LEVEL) / 2))
    middle, half = hits + z**2 / 2, z * math.sqrt(hits * (n - hits) / n + z**2 / 4)
    return (middle - half) / (n + z**2), (middle + half) / (n + z**2)


def excess(
    after: Sequence[bool],
    control: Sequence[bool],
    subjects: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> Excess:
    """Mean difference of the hits of two models on the same facts, with the interval of `paired_interval`.

    Facts of one subject come back together, so where there are `LEAST_SUBJECTS`, the interval is a percentile bootstrap
    of subjects, the same ones for both models (Efron and Tibshirani, 1993, chapters 8 and 13). If the difference is the
    same for each subject, such as none, it would have no width: then the interval is that of `paired_interval` for as
    many facts as there are subjects.

    Args:
        after: Whether each fact came back from the unlearned model.
        control: The same of the control.
        subjects: Of each fact; None if unknown.
        seed: Of the resamples.
        draws: Number of resamples.

    Returns:
        The difference with its interval.

    Raises:
        ValueError: There is no fact, or the arguments have different lengths.
    """
    after_N, control_N = np.asarray(after, dtype=float), np.asarray(control, dtype=float)
    difference_N = after_N - control_N
    if not len(difference_N) or (subjects is not None and len(subjects) != len(difference_N)):
        raise ValueError("hits of at least one fact are needed, and a subject for each")
    sums_G, sizes_G, by_subject = _groups(difference_N, subjects)
    if by_subject and np.ptp(sums_G / sizes_G) > 0:
        low, high = _bootstrap(sums_G, sizes_G, seed, draws)
    else:
        pairs = ((a, b) for a in (1, 0) for b in (1, 0))
        counts = (float(((after_N == a) & (control_N == b)).sum()) for a, b in pairs)
        low, high = paired_interval(*(count * len(sums_G) / len(difference_N) for count in counts))
    return Excess(float(difference_N.mean()), low, high, by_subject)


def _bootstrap(sums_G: Array, sizes_G: Array, seed: int, draws: int) -> tuple[float, float]:
    """Interval of a mean from the sums and sizes of the groups that are resampled."""
    random = np.random.default_rng(seed)
    means = []
    for part in _parts(draws, len(sums_G)):
        counts_DG = draw_counts(len(sums_G), part, random)
        means.append((counts_DG @ sums_G) / (counts_DG @ sizes_G))
    return percentile_interval(np.concatenate(means))


def _groups(difference_N: Array, subjects: Sequence[Hashable] | None) -> tuple[Array, Array, bool]:
    """Sum and size of what is taken as independent, and whether that is all facts of a subject."""
    numbers: dict[Hashable, int] = {}
    groups = [numbers.setdefault(each, len(numbers)) for each in subjects or ()]
    if len(numbers) < LEAST_SUBJECTS:
        return difference_N, np.ones(len(difference_N)), False
    sums_G: Array = np.bincount(groups, weights=difference_N).astype(float)
    return sums_G, np.bincount(groups).astype(float), True


def percentile_interval(draws_D: ArrayLike) -> tuple[float, float]:
    """The middle 95 % of resampled scores."""
    low, high = np.quantile(np.asarray(draws_D), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def adjusted_p_values(
    after: Sequence[Sequence[bool]], control: Sequence[Sequence[bool]], *, seed: int = 0, draws: int = DRAWS
) -> list[float]:
    """McNemar tests of several attacks on the same facts, adjusted for their number: max-T over sign flips.

    Westfall and Young, "Resampling-Based Multiple Testing" (1993), single step. Under the hypothesis that model and
    control do not differ, exchanging the two of a fact, for all attacks at once, changes nothing; each draw exchanges
    those of a random half of the facts. The statistic of an attack is (b - c) / sqrt(b + c), b facts given by the model
    alone and c by the control alone.

    Args:
        after: For each attack, whether each fact came back from the unlearned model, [A][N].
        control: The same of the control.
        seed: Of the draws.
        draws: Number of sign flips.

    Returns:
        For each attack, the share of draws, the data counting as one, whose largest statistic of all attacks is at
        least its own: in (0, 1].
    """
    difference_AN = np.asarray(after, dtype=float) - np.asarray(control, dtype=float)
    scale_A = np.sqrt(np.abs(difference_AN).sum(axis=1))
    scale_A[scale_A == 0] = 1  # no discordant fact: the statistic is 0
    observed_A = difference_AN.sum(axis=1) / scale_A
    random = np.random.default_rng(seed)
    reached_A = np.ones(len(observed_A))
    for part in _parts(draws, difference_AN.shape[1]):
        signs_DN = random.integers(2, size=(part, difference_AN.shape[1])) * 2.0 - 1
        largest_D = ((signs_DN @ difference_AN.T) / scale_A).max(axis=1)
        reached_A += (largest_D[:, None] >= observed_A - 1e-9).sum(axis=0)
    return [float(each) for each in reached_A / (draws + 1)]


def leak_at_k(hits: int, n: int, k: int) -> float:
    """Probability that at least one of k of the n samples of a fact is a hit: 1 - C(n - c, k) / C(n, k).

    The unbiased estimator of arXiv:2511.04934 (and of pass@k, arXiv:2107.03374), in logs.

    Args:
        hits: c, the number of samples that are hits.
        n: Number of samples.
        k: At most `n`, and at least 1.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: `k` is not between 1 and `n`, or `hits` not between 0 and `n`.
    """
    _check_counts(hits, n)
    if not 1 <= k <= n:
        raise ValueError(f"k is {k}, which is not between 1 and {n}")
    if n - hits < k:
        return 1.0
    log_none = _log_binomial(n - hits, k) - _log_binomial(n, k)
    return float(-np.expm1(min(log_none, 0.0)))


def _log_binomial(n: int, k: int) -> float:
    return float(special.gammaln(n + 1.0) - special.gammaln(k + 1.0) - special.gammaln(n - k + 1.0))


def _parts(draws: int, n: int) -> list[int]:
    """Numbers of draws that sum to `draws`, each of at most `_CHUNK` numbers in all."""
    size = max(1, _CHUNK // max(n, 1))
    return [min(size, draws - start) for start in range(0, draws, size)]


def _check_counts(hits: int, n: int) -> None:
    if not (n >= 1 and 0 <= hits <= n):
        raise ValueError(f"{hits} hits of {n} are not between 0 and {n}, of at least 1")
