"""How far scores would move with other questions: percentile bootstrap over the questions of each set.

The models of one board are resampled together: they are asked the same questions, so that what is easy for all moves
all, and a difference between two is known better than either (Efron and Tibshirani, "An Introduction to the Bootstrap",
1993, chapters 8 and 13).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from efface.artifacts import METRICS, Metric
from efface.frozen import FrozenModel
from efface.scores.definitions import Definition
from efface.scores.leaderboard.question_scores import Array, SetValues
from efface.scores.sets import FORGET, KEPT, ordered

LEVEL = 0.95
DRAWS = 1000


class Interval(FrozenModel):
    """A number and where it lies in 95 % of the resamples."""

    value: float
    """Of the questions as they are."""
    low: float
    high: float


@dataclass(frozen=True)
class CountedMetrics:
    """What the aggregates of a board are made of; the same for all its models."""

    utility: tuple[Metric, ...]
    """None of them where model utility cannot be had."""
    efficacy: tuple[Metric, ...]
    partial: tuple[Metric, ...] | None
    """Over these alone; None where the aggregates are those of the definition."""


@dataclass(frozen=True)
class Draws:
    """The scores of R models in D resamples."""

    sets: dict[str, Array]
    """Set -> means [D, R, metrics]; NaN where a model lacks the metric."""
    model_utility: Array | None
    """[D, R]"""
    forget_efficacy: Array | None
    """[D, R]"""

    @property
    def harmonic_mean(self) -> Array | None:
        """Of model utility and forget efficacy, [D, R]; None where one of the two is missing."""
        if self.model_utility is None or self.forget_efficacy is None:
            return None
        return _harmonic(np.stack([self.model_utility, self.forget_efficacy], axis=-1))


def bootstrap(
    models: Sequence[Mapping[str, SetValues]], definition: Definition, counted: CountedMetrics, *, draws: int, seed: int
) -> Draws:
    """Score all models in the same `draws` resamples; set -> values of each model, questions in the same order."""
    random = np.random.default_rng(seed)
    counts = {name: resamples(len(models[0][name].ids), draws, random) for name in ordered(models[0])}
    return scored(counts, models, definition, counted)


def resamples(n: int, draws: int, random: np.random.Generator) -> Array:
    """How often each of `n` questions is drawn, n times with replacement: [draws, n], each row sums to n."""
    drawn_DN = random.integers(n, size=(draws, n))
    places: NDArray[np.int64] = (drawn_DN + np.arange(draws)[:, None] * n).ravel()
    return np.bincount(places, minlength=draws * n).reshape(draws, n).astype(np.float64)


def scored(
    counts: Mapping[str, Array],
    models: Sequence[Mapping[str, SetValues]],
    definition: Definition,
    counted: CountedMetrics,
) -> Draws:
    """The scores where each question counts as often as `counts` says: set -> [D, n], each row sums to n.

    All ones are the questions as they are.
    """
    sets = {name: _means(counts_DN, [model[name] for model in models]) for name, counts_DN in counts.items()}
    kept = [sets[name] for name in definition.utility_sets or KEPT if name in sets]
    utility = efficacy = None
    if kept and counted.utility:
        utility = _harmonic(np.concatenate([each[..., _places(counted.utility)] for each in kept], axis=-1))
    if FORGET in sets and counted.efficacy:
        efficacy = 1 - sets[FORGET][..., _places(counted.efficacy)].mean(axis=-1)
    return Draws(sets=sets, model_utility=utility, forget_efficacy=efficacy)


def interval(value: float, draws_D: Array) -> Interval:
    """The middle `LEVEL` of the draws."""
    low, high = np.quantile(draws_D, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value=value, low=float(low), high=float(high))


def _means(counts_DN: Array, models: Sequence[SetValues]) -> Array:
    """One product of matrices in place of D lookups: [D, R, metrics]."""
    columns_NC = np.concatenate([model.columns_NM for model in models], axis=1)
    means_DC: Array = counts_DN @ columns_NC / counts_DN.shape[1]
    means_DC = np.minimum(means_DC, 1.0)  # rounding, which 1 - it would show
    return means_DC.reshape(len(counts_DN), len(models), len(METRICS))


def _places(metrics: Sequence[Metric]) -> list[int]:
    return [METRICS.index(metric) for metric in metrics]


def _harmonic(numbers: Array) -> Array:
    """Harmonic mean over the last axis; 0 where one of the numbers is, as in `arithmetic.harmonic_mean`."""
    least = numbers.min(axis=-1)
    safe = np.where(least > 0, least, 1.0)
    parts = safe[..., None] / np.where(least[..., None] > 0, numbers, 1.0)
    result: Array = np.where(least > 0, numbers.shape[-1] * safe / parts.sum(axis=-1), 0.0)
    return result
