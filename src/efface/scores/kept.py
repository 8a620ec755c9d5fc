"""The share of its utility that a model kept, and what that says about questions that were not asked. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from efface.artifacts import Metric
from efface.errors import EffaceError
from efface.records import Record
from efface.schema import fact_id
from efface.scores.definitions import Definition
from efface.scores.inputs.from_records import from_records
from efface.scores.leaderboard.bootstrap import bootstrap, weighted_scores
from efface.scores.leaderboard.question_scores import SetValues, set_values
from efface.scores.leaderboard.ranking import choose_metrics
from efface.scores.means import mean
from efface.scores.metrics.word_recall import word_recall
from efface.scores.sets import FORGET, KNOWN_FACTS, RETAIN_SETS
from efface.scores.verdict import facts_known_in_a_wording, facts_known_in_all_wordings, judge_records

_OF_OWN_ANSWERS: tuple[Metric, ...] = ("probability", "cosine_similarity")
"""The metrics of utility where what is compared with are a model's own earlier answers."""
_DRAWS = 1000
_DIGITS = 9
"""Of shares: a model that did not change has exactly 1, whatever the order of sums."""
_QUANTILE = 1.645
"""Of the standard normal distribution: 95 % one-sided."""
_NONE_KNOWN = "the model before unlearning knows none of its known facts; use evaluate.precision=float32"
_OUTSIDE = 0.05
"""Of the beta distribution: 95 % one-sided."""


@dataclass(frozen=True)
class Kept:
    """A model compared with the model before unlearning, on the same questions."""

    share: float
    """Utility after over utility before; with known facts, the share of these that is still known."""
    at_least: float
    """`lower_bound` of the share on other questions; with known facts, `lower_bound_of_facts`."""
    utility: float
    """After unlearning; with known facts, the share of those that were asked that is known."""
    forget_efficacy: float
    """After unlearning."""


def kept(
    before: Mapping[str, Sequence[Record]],
    after: Mapping[str, Sequence[Record]],
    definition: Definition,
    *,
    unseen: int,
    own_answers: bool = False,
) -> Kept:
    """Compare a model with the model before unlearning.

    Utility is model utility as the definition has it, over the sets that are there; where a metric is missing on one of
    the sets, in the records before or after, both aggregates leave it out. Where there are known facts, what counts is
    how many of them are known (`efface.scores.verdict`): utility falls when answers only change their wording, and
    training on short answers raises it.

    Args:
        before: Set name -> records of the model before unlearning; the forget set, and retain sets.
        after: The same questions, in the same order, answered by the other model.
        definition: The score definition; has a forget efficacy.
        unseen: Number of other questions of the retain sets, for which the bound should hold where there are no known
            facts.
        own_answers: Whether the answers of the retain sets are earlier ones of the model itself, which were greedy and
            long: with any training they change their wording. Utility is then that of probability and embeddings.

    Returns:
        The comparison.

    Raises:
        EffaceError: The model before unlearning has no utility that could be kept.
    """
    models = [_values(before, definition), _values(after, definition)]
    metrics = choose_metrics([{name: each.scores() for name, each in model.items()} for model in models], definition)
    if own_answers:
        metrics = replace(metrics, utility=tuple(each for each in metrics.utility if each in _OF_OWN_ANSWERS))
    ones = {name: np.ones((1, len(each.ids))) for name, each in models[0].items()}
    point = weighted_scores(ones, models, definition, metrics)
    if KNOWN_FACTS in before and point.forget_efficacy is not None:
        return _kept_facts(before, after, float(point.forget_efficacy[0, 1]))
    if point.model_utility is None or point.forget_efficacy is None or point.model_utility[0, 0] <= 0:
        raise EffaceError(
            "the model before unlearning has a utility of 0 on the retain sets, or no metric is available for "
            "them, so no share of it can be kept; check model= and data.retain"
        )
    drawn = bootstrap(models, definition, metrics, draws=_DRAWS, seed=0).model_utility
    assert drawn is not None
    shares_D = drawn[:, 1] / np.maximum(drawn[:, 0], np.finfo(float).tiny)
    share = round(float(point.model_utility[0, 1] / point.model_utility[0, 0]), _DIGITS)
    asked = sum(len(each.ids) for name, each in models[0].items() if name in RETAIN_SETS)
    return Kept(
        share=share,
        at_least=lower_bound(share, float(shares_D.std()), asked=asked, unseen=unseen),
        utility=float(point.model_utility[0, 1]),
        forget_efficacy=float(point.forget_efficacy[0, 1]),
    )


def _kept_facts(
    before: Mapping[str, Sequence[Record]],
    after: Mapping[str, Sequence[Record]],
    forget_efficacy: float,
) -> Kept:
    """Count the facts that are still known, of those that were before."""
    known, second = facts_to_keep(before), judge_records({KNOWN_FACTS: after[KNOWN_FACTS]})[KNOWN_FACTS]
    still = facts_known_in_a_wording(second)
    if not known:
        raise EffaceError(_NONE_KNOWN)
    return Kept(
        share=round(len(known & still) / len(known), _DIGITS),
        at_least=lower_bound_of_facts(len(known & still), len(known)),
        utility=len(still) / len(set(map(fact_id, second))),
        forget_efficacy=forget_efficacy,
    )


def facts_to_keep(before: Mapping[str, Sequence[Record]]) -> set[str]:
    """Ids of the known facts that a model knew before unlearning, in all wordings.

    Args:
        before: Set name -> records of that model.
    """
    records = before.get(KNOWN_FACTS)
    return facts_known_in_all_wordings(judge_records({KNOWN_FACTS: records})[KNOWN_FACTS]) if records else set()


def check_reachable(keep: float, before: Mapping[str, Sequence[Record]], *, most: int) -> None:
    """Refuse a bound that no model could be shown to hold, as too few facts are known.

    Args:
        keep: The share that must be kept.
        before: Set name -> records of the model before unlearning, of the questions that decide.
        most: How many known facts decide at most.

    Raises:
        EffaceError: Even if all facts are kept, their bound is lower.
    """
    if KNOWN_FACTS not in before:
        return
    count = len(facts_to_keep(before))
    if not count:
        raise EffaceError(_NONE_KNOWN)
    best = lower_bound_of_facts(count, count)
    if best < keep:
        remedy = "lower keep" if count >= most else "raise data.known_facts, or lower keep"
        raise EffaceError(
            f"keep={keep:g} cannot be shown with {count} facts that the model knows: if it keeps all of them, it keeps "
            f"at least {best:.3f} of such facts at a confidence of 95 %; {remedy}, in another --out"
        )


def lower_bound_of_facts(kept_facts: int, asked: int) -> float:
    """The share of facts like these, of which those asked are a sample, that a model keeps at least: one-sided, 95 %.

    The limit of Jeffreys' interval: the 5 % quantile of the beta distribution with kept + 1/2 and lost + 1/2 (Brown,
    Cai and DasGupta, "Interval estimation for a binomial proportion", 2001, section 3.1). The standard error of a share
    would be 0 where every fact was kept, however few they are.

    Args:
        kept_facts: Number of facts that are still known.
        asked: Number of facts that were known before.
    """
    from scipy.special import betaincinv

    return round(float(betaincinv(kept_facts + 0.5, asked - kept_facts + 0.5, _OUTSIDE)), _DIGITS)


def lower_bound(share: float, standard_error: float, *, asked: int, unseen: int) -> float:
    """The share of its utility that a model keeps at least on questions that were not asked: one-sided 95 % bound.

    share - 1.645 s sqrt(1 + n/m)

    with s the standard error of the share over n questions, from a paired bootstrap: each resample draws the same
    questions for both models (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13). The
    share of m other questions has the variance s^2 n/m, and the difference of the two s^2 (1 + n/m).

    Args:
        share: Utility after over utility before, on n questions.
        standard_error: s.
        asked: n.
        unseen: m.
    """
    return round(share - _QUANTILE * standard_error * math.sqrt(1 + asked / unseen), _DIGITS)


def is_gone(forget: Sequence[Record]) -> bool:
    """Whether outputs for the forget set have no more in common with its answers than answers to other questions do.

    Mean share of the answer's words in each question's output, against that in the answer to another question: the one
    half of the set further on.

    Args:
        forget: Records of the forget set after unlearning.
    """
    others = [*forget[len(forget) // 2 :], *forget[: len(forget) // 2]]
    by_chance = mean(
        [
            word_recall(each.answer, other.answer) if other.answer != each.answer else 0.0
            for each, other in zip(forget, others, strict=True)
        ]
    )
    return said(forget) <= by_chance


def said(records: Sequence[Record]) -> float:
    """Mean share of the answers' words that outputs say (`word_recall`)."""
    return mean([word_recall(each.answer, each.output) for each in records])


def _values(records: Mapping[str, Sequence[Record]], definition: Definition) -> dict[str, SetValues]:
    """Question scores of the forget set and of the retain sets."""
    return {
        name: set_values(name, from_records(name, rows, where="the records"), definition)
        for name, rows in records.items()
        if name == FORGET or name in RETAIN_SETS
    }
