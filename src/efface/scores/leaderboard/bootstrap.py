"""Confidence intervals of scores: percentile bootstrap over the questions of each set.

The models of one board are resampled together (paired bootstrap): they answer the same questions, so that the
difference between two models varies less than the score of each (Efron and Tibshirani, "An Introduction to the
Bootstrap", 1993, chapters 8 and 13).
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
from efface.scores.sets import FORGET, RETAIN_SETS, is_forgotten, sort_names

LEVEL = 0.95
DRAWS = 1000


class Interval(FrozenModel):
    """A score and its 95 % confidence interval."""

    value: float
    """Of the questions without resampling."""
    low: float
    high: float


@dataclass(frozen=True)
class AggregateMetrics:
    """The metrics that the aggregates of a board include; the same for all its models."""

    utility: tuple[Metric, ...]
    """Empty where model utility cannot be computed."""
    efficacy: tuple[Metric, ...]
    partial: tuple[Metric, ...] | None
    """The metrics of partial aggregates; None if the aggregates are complete."""


@dataclass(frozen=True)
class Draws:
    """The scores of R models in D resamples."""

    sets: dict[str, Array]
    """Set -> means [D, R, M] of the M metrics; NaN where a model does not have the metric."""
    model_utility: Array | None
    """[D, R]"""
    forget_efficacy: Array | None
    """[D, R]"""

    @property
    def harmonic_mean(self) -> Array | None:
        """Of model utility and forget efficacy, [D, R]; None if one of the two is missing."""
        if self.model_utility is None or self.forget_efficacy is None:
            return None
        return _harmonic(np.stack([self.model_utility, self.forget_efficacy], axis=-1))


def bootstrap(
    models: Sequence[Mapping[str, SetValues]],
    definition: Definition,
    metrics: AggregateMetrics,
    *,
    draws: int,
    seed: int,
) -> Draws:
    """Score all models in the same resamples.

    Args:
        models: Set name -> question scores of each model, with the questions in the same order.
        definition: Which sets model utility includes.
        metrics: Which metrics the aggregates include.
        draws: Number of resamples.
        seed: Seed of the random generator.

    Returns:
        The scores of all models in each resample.
    """
    random = np.random.default_rng(seed)
    counts = {name: draw_counts(len(models[0][name].ids), draws, random) for name in sort_names(models[0])}
    return weighted_scores(counts, models, definition, metrics)


def draw_counts(n: int, draws: int, random: np.random.Generator) -> Array:
    """Draw questions with replacement.

    Args:
        n: Number of questions, and of draws in a resample.
        draws: Number of resamples.
        random: The random generator.

    Returns:
        How often each question is drawn, [D, n]; each row sums to n.
    """
    drawn_DN = random.integers(n, size=(draws, n))
    bins: NDArray[np.int64] = (drawn_DN + np.arange(draws)[:, None] * n).ravel()
    return np.bincount(bins, minlength=draws * n).reshape(draws, n).astype(np.float64)


def weighted_scores(
    counts: Mapping[str, Array],
    models: Sequence[Mapping[str, SetValues]],
    definition: Definition,
    metrics: AggregateMetrics,
) -> Draws:
    """Score all models with weighted questions.

    Args:
        counts: Set name -> weight of each question in each resample, [D, n]; each row sums to n. Ones give the scores
            without resampling.
        models: Set name -> question scores of each model, with the questions in the same order.
        definition: Which sets model utility includes.
        metrics: Which metrics the aggregates include.

    Returns:
        The scores of all models in each resample.
    """
    sets = {name: _means(counts_DN, [model[name] for model in models]) for name, counts_DN in counts.items()}
    retained = [sets[name] for name in definition.utility_sets or RETAIN_SETS if name in sets]
    utility = efficacy = None
    if retained and metrics.utility:
        utility = _harmonic(np.concatenate([each[..., _columns(metrics.utility)] for each in retained], axis=-1))
    if FORGET in sets and metrics.efficacy:
        forgotten = [each for name, each in sets.items() if name == FORGET or is_forgotten(name)]
        efficacy = 1 - np.concatenate([each[..., _columns(metrics.efficacy)] for each in forgotten], -1).mean(axis=-1)
    return Draws(sets=sets, model_utility=utility, forget_efficacy=efficacy)


def interval(value: float, draws_D: Array) -> Interval:
    """Interval of the middle `LEVEL` of the resampled scores [D] around the score `value`.

    Args:
        value: The score of the questions without resampling.
        draws_D: The score in each resample, [D].

    Returns:
        The score with the lower and upper quantile.
    """
    low, high = np.quantile(draws_D, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value=value, low=float(low), high=float(high))


def _means(counts_DN: Array, models: Sequence[SetValues]) -> Array:
    """Means [D, R, M] of all models and metrics, by one matrix product."""
    columns_NC = np.concatenate([model.columns_NM for model in models], axis=1)
    means_DC: Array = counts_DN @ columns_NC / counts_DN.shape[1]
    means_DC = np.minimum(means_DC, 1.0)  # a rounded mean above 1 would make 1 - mean negative
    return means_DC.reshape(len(counts_DN), len(models), len(METRICS))


def _columns(metrics: Sequence[Metric]) -> list[int]:
    return [METRICS.index(metric) for metric in metrics]


def _harmonic(numbers: Array) -> Array:
    """Harmonic mean over the last axis; 0 where one of the numbers is 0, as in `efface.scores.means.harmonic_mean`."""
    least = numbers.min(axis=-1)
    safe = np.where(least > 0, least, 1.0)
    parts = safe[..., None] / np.where(least[..., None] > 0, numbers, 1.0)
    result: Array = np.where(least > 0, numbers.shape[-1] * safe / parts.sum(axis=-1), 0.0)
    return result
