"""Privacy leakage: whether the model's likelihoods tell what it was trained on from what no model has seen."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence

from efface.artifacts import PrivacyLeakage
from efface.errors import EffaceError
from efface.scores.inputs.metric_inputs import MetricInputs, Missing
from efface.scores.sets import FORGET, HOLDOUT, MEMBERS

_LEAST_DENOMINATOR = 0.02
"""PrivLeak divides by 1 - AUC of the retrained model, the relative difference by the AUC; below this, the size of
either would be that of rounding errors."""

Sets = Mapping[str, Sequence[MetricInputs]]


def membership_sets(names: Iterable[str]) -> tuple[str, str] | None:
    """The set of members and that of unseen items; None where the data has no unseen items."""
    available = set(names)
    members = MEMBERS if MEMBERS in available else FORGET
    return (members, HOLDOUT) if {members, HOLDOUT} <= available else None


def privacy_leakage(sets: Sets, retrained: Sets | None) -> PrivacyLeakage | None:
    """Compute the AUC of Min-40% probability, PrivLeak (MUSE, arXiv:2407.06460) and the relative difference.

    Args:
        sets: Set name -> questions, from the scored model.
        retrained: The same of a model trained without the forget set; None leaves the last two out.

    Returns:
        The three; None where `sets` has no members, no unseen items or no Min-40% probability.

    Raises:
        EffaceError: When `retrained` was not scored on the same sets.
    """
    value = _sets_auc(sets)
    if value is None:
        return None
    reference = None if retrained is None else _sets_auc(retrained)
    if retrained is not None and reference is None:
        raise EffaceError(
            "privacy leakage compares the sets of members and holdout of two models, and those of the retrained model "
            "are missing; evaluate it on the same data"
        )
    if reference is None:
        return PrivacyLeakage(auc=value, auc_retrained=None, privleak=None)
    return PrivacyLeakage(
        auc=value,
        auc_retrained=reference,
        privleak=privleak(value, reference),
        rel_diff=relative_difference(value, reference),
    )


def auc(members: Sequence[float], unseen: Sequence[float]) -> float:
    """Compute the share of pairs in which the unseen item has the higher score, ties counting half.

    Args:
        members: Scores of items that the model was trained on, at least one; low means likely.
        unseen: The same of items that it was not trained on, at least one.

    Returns:
        1 if members are always recognized, 0.5 if the scores do not tell.
    """
    ordered = sorted(members)
    lower = sum(bisect_left(ordered, score) + bisect_right(ordered, score) for score in unseen)
    return lower / (2 * len(members) * len(unseen))


def privleak(value: float, retrained: float) -> float | None:
    """Compute PrivLeak, in percent: ((1 - AUC) - (1 - AUC of retrained)) / (1 - AUC of retrained) x 100.

    MUSE (arXiv:2407.06460, section 3.1) writes AUC for what is 1 - AUC here.

    Args:
        value: AUC of the unlearned model.
        retrained: AUC of a model trained without the forget set.

    Returns:
        Below 0 where too little was forgotten, above 0 where too much; None where the denominator is nearly 0.
    """
    if 1 - retrained < _LEAST_DENOMINATOR:
        return None
    return 100 * (retrained - value) / (1 - retrained)


def relative_difference(value: float, retrained: float) -> float | None:
    """Compute the relative difference of two AUC in percent: (AUC - AUC of retrained) / AUC of retrained x 100.

    `rel_diff` of open-unlearning (arXiv:2506.12618).

    Args:
        value: AUC of the unlearned model.
        retrained: AUC of a model trained without the forget set.

    Returns:
        Above 0 where too little was forgotten, below 0 where too much; None where the denominator is nearly 0.
    """
    if retrained < _LEAST_DENOMINATOR:
        return None
    return 100 * (value - retrained) / retrained


def _sets_auc(sets: Sets) -> float | None:
    names = membership_sets(sets)
    if names is None:
        return None
    members, unseen = ([_score(inputs) for inputs in sets[name]] for name in names)
    known = [[score for score in scores if score is not None] for scores in (members, unseen)]
    return auc(*known) if len(known[0]) == len(members) and len(known[1]) == len(unseen) else None


def _score(inputs: MetricInputs) -> float | None:
    score = inputs.custom.get("min_k")
    return None if score is None or isinstance(score, Missing) else score
