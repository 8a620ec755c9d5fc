"""Which epoch is the best one."""

from __future__ import annotations

from collections.abc import Sequence

from efface.artifacts import Partial, Scores
from efface.scores.means import harmonic_mean


def best(scores: Sequence[Scores]) -> int | None:
    """Place of the scores with the highest harmonic mean of model utility and forget efficacy, the first of equals.

    Partial ones are compared where one of the whole is missing anywhere; None where these are missing, too.
    """
    whole = _means(scores)
    means = _means([each.partial for each in scores]) if whole is None else whole
    return None if not means else means.index(max(means))


def _means(scores: Sequence[Scores] | Sequence[Partial]) -> list[float] | None:
    """The harmonic mean of each; None where a number is missing."""
    means = []
    for each in scores:
        if each.model_utility is None or each.forget_efficacy is None:
            return None
        means.append(harmonic_mean([each.model_utility, each.forget_efficacy]))
    return means
