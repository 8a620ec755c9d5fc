"""Distance of the AUC of membership scores from that of a control, with its interval. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from efface.auditing.measures.statistics import percentile_interval

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AucGap:
    """AUC of a model and of its control, and the distance of the two with its 95 % interval.

    The interval has 0 if that of the difference does: one of resampled distances never would.
    """

    auc: float
    control: float
    gap: float
    """|AUC - AUC of the control|: 0 where a member is as hard to tell as for a model that never saw it."""
    low: float
    high: float


def auc_gap(
    members: tuple[Sequence[float], Sequence[float]],
    unseen: tuple[Sequence[float], Sequence[float]],
    *,
    seed: int = 0,
    draws: int = 2000,
) -> AucGap:
    """Distance of the AUC of a model from that of its control, with a stratified and paired bootstrap.

    Members and unseen items are resampled separately, and the same of them for both models.

    Args:
        members: Scores of the same items by the model and by the control.
        unseen: The same of unseen items.
        seed: Of the resamples.
        draws: Number of resamples.
    """
    members_2N, unseen_2M = np.asarray(members, dtype=float), np.asarray(unseen, dtype=float)
    own, control = _auc(members_2N, unseen_2M)
    random = np.random.default_rng(seed)
    differences = []
    for _ in range(draws):
        picked = random.integers(members_2N.shape[1], size=members_2N.shape[1])
        other = random.integers(unseen_2M.shape[1], size=unseen_2M.shape[1])
        one, two = _auc(members_2N[:, picked], unseen_2M[:, other])
        differences.append(one - two)
    low, high = percentile_interval(differences)
    nearest = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return AucGap(float(own), float(control), float(abs(own - control)), nearest, max(abs(low), abs(high)))


def _auc(members_RN: Array, unseen_RM: Array) -> Array:
    """AUC [R] of R pairs of samples, by ranks: ties count half."""
    both = np.concatenate([unseen_RM, members_RN], axis=1)
    m, n = unseen_RM.shape[1], members_RN.shape[1]
    ranks = stats.rankdata(both, axis=1)[:, :m].sum(axis=1)
    result: Array = (ranks - m * (m + 1) / 2) / (m * n)
    return result
