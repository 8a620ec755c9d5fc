"""Which questions a search or a bound looks at, and which are kept for the report. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from efface.errors import EffaceError
from efface.records import Record, RecordSets
from efface.schema import EvaluationSet, Item, fact_id
from efface.scores.sets import FORGET, KNOWN_FACTS, RETAIN_SETS
from efface.spacing import evenly_spaced

QUICK_QUESTIONS, QUICK_FACTS, QUICK_FORGET = 48, 64, 24
"""Most questions of each retain set, known facts, and questions of the forget set for a score during training."""
_LEAST = 4
"""Fewest questions of a retain set that can be divided."""


@dataclass(frozen=True)
class HeldOut:
    """The questions of an evaluation, divided."""

    searched: tuple[EvaluationSet, ...]
    """The forget set, and half of each retain set; of known facts alone where there are any."""
    reported: tuple[EvaluationSet, ...]
    """The other halves, and the forget set with paraphrased questions where it has them."""
    paraphrased: bool
    """Whether the reported forget set has paraphrased questions."""

    def as_asked(self) -> HeldOut:
        """The same, with the forget set reported as it is."""
        forget = next(each for each in self.searched if each.name == FORGET)
        kept = [each for each in self.reported if each.name != FORGET]
        return HeldOut(self.searched, (*kept, forget), paraphrased=False)

    @property
    def unseen(self) -> int:
        """Number of retain questions that are reported; a fact that is asked in two wordings counts once."""
        return sum(len(_facts(each)) for each in self.reported if each.name != FORGET)


def hold_out(sets: Sequence[EvaluationSet], limit: int | None) -> HeldOut:
    """Divide an evaluation into questions to search with and questions to report.

    Half of the questions of each retain set are searched: those whose ids have the smaller SHA-256, so that the same
    questions are always divided in the same way. The forget set is searched as it is, and reported with its paraphrased
    questions, as far as it has any.

    Args:
        sets: Evaluation sets; forget sets of earlier requests are left out.
        limit: Only the first `limit` questions of each set are used.

    Returns:
        Both parts.

    Raises:
        EffaceError: There is no forget set, or a retain set has too few questions.
    """
    forget = next((each for each in sets if each.name == FORGET), None)
    facts = [each for each in sets if each.name == KNOWN_FACTS]
    retained = facts or [each for each in sets if each.name in RETAIN_SETS]
    keep = [each.model_copy(update={"items": each.items[:limit]}) for each in retained]
    if forget is None:
        raise EffaceError("a share of the utility is kept while a forget set is unlearned, and there is none here")
    smallest = min(keep, key=lambda each: len(each.items), default=None)
    if smallest is None or len(smallest.items) < _LEAST:
        found = "there are none" if smallest is None else f"the set {smallest.name} has {len(smallest.items)}"
        raise EffaceError(
            f"to measure what is kept, each retain set needs at least {_LEAST} scored questions, and {found}; give a "
            "retain set as data.retain=FILE, or data.retain=model-answers, or raise data.retain_evaluation"
        )
    asked = forget.model_copy(update={"items": forget.items[:limit]})
    halves = [_halves(each) for each in keep]
    rephrased = tuple(map(_in_other_words, filter(lambda item: item.paraphrased_question, asked.items)))
    reported = asked.model_copy(update={"items": rephrased}) if rephrased else asked
    return HeldOut(
        searched=(*(first for first, _ in halves), asked),
        reported=(*(second for _, second in halves), reported),
        paraphrased=bool(rephrased),
    )


def quick_sets(sets: Sequence[EvaluationSet], known: Collection[str]) -> tuple[EvaluationSet, ...]:
    """At most `QUICK_QUESTIONS` of each retain set, `QUICK_FACTS` and `QUICK_FORGET`, evenly spaced.

    A fact that is asked in two wordings counts once.

    Args:
        sets: Evaluation sets.
        known: Ids of the known facts that the model knew before unlearning: others say nothing about what it kept.
    """
    counts = {FORGET: QUICK_FORGET, KNOWN_FACTS: QUICK_FACTS}
    chosen = []
    for each in sets:
        facts = [fact for fact in _facts(each) if each.name != KNOWN_FACTS or fact in known]
        chosen.append(_only(each, evenly_spaced(facts, counts.get(each.name, QUICK_QUESTIONS))))
    return tuple(chosen)


def records_of(sets: Sequence[EvaluationSet], records: Mapping[str, Sequence[Record]]) -> RecordSets:
    """The records of the questions of some sets, in their order.

    Args:
        sets: Evaluation sets.
        records: Set name -> records of these questions and maybe of others.

    Raises:
        EffaceError: The record of a question is missing.
    """
    found: RecordSets = {}
    for each in sets:
        by_id = {record.id: record for record in records.get(each.name, ())}
        missing = next((item.id for item in each.items if item.id not in by_id), None)
        if missing is not None:
            raise EffaceError(f"the records before unlearning do not include question {missing!r} of {each.name!r}")
        found[each.name] = [by_id[item.id] for item in each.items]
    return found


def _halves(set_: EvaluationSet) -> tuple[EvaluationSet, EvaluationSet]:
    by_hash = sorted(_facts(set_), key=lambda fact: hashlib.sha256(fact.encode()).digest())
    middle = (len(by_hash) + 1) // 2
    return _only(set_, by_hash[:middle]), _only(set_, by_hash[middle:])


def _facts(set_: EvaluationSet) -> tuple[str, ...]:
    """Ids of what a set asks for: of its questions, and where two of them ask for one fact, of that fact."""
    return tuple(dict.fromkeys(fact_id(item.id) for item in set_.items))


def _only(set_: EvaluationSet, facts: Collection[str]) -> EvaluationSet:
    chosen = set(facts)
    return set_.model_copy(update={"items": tuple(item for item in set_.items if fact_id(item.id) in chosen)})


def _in_other_words(item: Item) -> Item:
    return item.model_copy(update={"question": item.paraphrased_question})
