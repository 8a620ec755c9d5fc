"""AUC of membership scores, its distance to that of a control, and PrivLeak. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from efface.audit.statistics import percentile_interval

Array = NDArray[np.float64]


def auc(members: Sequence[float], unseen: Sequence[float]) -> float:
    """Share of pairs in which the unseen item has the higher score, ties counting half.

    Args:
        members: Scores of items that the model was trained on, at least one; high means that it was not.
        unseen: The same of items that it was not trained on.

    Returns:
        1 if members are always recognized, 0.5 if the scores do not tell.
    """
    return float(_auc(np.asarray(members, dtype=float)[None], np.asarray(unseen, dtype=float)[None])[0])


@dataclass(frozen=True)
class AucGap:
    """AUC of a model and of its control, and the distance of the two with its 95 % interval."""

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
    gaps = []
    for _ in range(draws):
        picked = random.integers(members_2N.shape[1], size=members_2N.shape[1])
        other = random.integers(unseen_2M.shape[1], size=unseen_2M.shape[1])
        one, two = _auc(members_2N[:, picked], unseen_2M[:, other])
        gaps.append(abs(one - two))
    low, high = percentile_interval(gaps)
    return AucGap(float(own), float(control), float(abs(own - control)), low, high)


LEAST_PRIVLEAK_DENOMINATOR = 0.02
"""PrivLeak divides by 1 - AUC of the retrained model; below this, its size would be that of rounding errors."""


def privleak(auc_after: float, auc_control: float) -> float | None:
    """PrivLeak of MUSE (arXiv:2407.06460), in percent: ((1 - AUC) - (1 - AUC of control)) / (1 - AUC of control) x 100.

    Returns:
        -100 where nothing is forgotten, 0 where the model is as the control, above 0 where too much is; None where the
        denominator is below `LEAST_PRIVLEAK_DENOMINATOR`.
    """
    if 1 - auc_control < LEAST_PRIVLEAK_DENOMINATOR:
        return None
    return 100 * (auc_control - auc_after) / (1 - auc_control)


def _auc(members_RN: Array, unseen_RM: Array) -> Array:
    """AUC [R] of R pairs of samples, by ranks: ties count half."""
    both = np.concatenate([unseen_RM, members_RN], axis=1)
    m, n = unseen_RM.shape[1], members_RN.shape[1]
    ranks = stats.rankdata(both, axis=1)[:, :m].sum(axis=1)
    result: Array = (ranks - m * (m + 1) / 2) / (m * n)
    return result
