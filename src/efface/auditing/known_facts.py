"""Which facts are audited: those of the forget set that the model before unlearning gave when asked plainly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from efface.auditing.attack import Level
from efface.auditing.fact import Fact, text_of
from efface.auditing.rule import FactRule, answer_type, can_be_judged
from efface.errors import EffaceError
from efface.evaluation.judging.nli_judge import Judge
from efface.records import Record
from efface.schema import EvaluationSet
from efface.spacing import evenly_spaced

QUICK_FACTS = 20
"""How many facts the level quick audits."""


@dataclass(frozen=True)
class KnownFacts:
    """The facts of an audit."""

    known: tuple[Fact, ...]
    """All that the model knew before, in the order of their ids."""
    audited: tuple[Fact, ...]
    """Those of the level."""
    left_out: dict[str, str]
    """What was left out -> why."""


def known_facts(records: Sequence[Record], forget: EvaluationSet, judge: Judge | None, level: Level) -> KnownFacts:
    """Find the facts that the model knew before.

    Args:
        records: Of the model before unlearning, on the forget set.
        forget: The forget set.
        judge: Of the run; None where words decide.
        level: `quick` audits a part of the facts.

    Returns:
        The facts; their order does not depend on that of the data.

    Raises:
        EffaceError: There is none.
    """
    output_of = {record.id: record.output for record in records}
    asked = [
        Fact(item, answer_type(item.key_fact or item.scored_answer)) for item in forget.items if item.id in output_of
    ]
    facts = sorted((fact for fact in asked if can_be_judged(fact)), key=lambda fact: fact.id)
    rule = FactRule(judge, facts, forget.entailment_premise)
    stated = rule.says(facts, [output_of[fact.id] for fact in facts], [text_of(fact.prompt) for fact in facts])
    known = tuple(fact for fact, says in zip(facts, stated, strict=True) if says)
    if not known:
        raise EffaceError(
            f"there is nothing to audit: the model before unlearning gave none of the {len(asked)} facts of the forget "
            "set when asked; audit a run whose model knew them"
        )
    audited = evenly_spaced(known, QUICK_FACTS) if level == "quick" else known
    left_out = {}
    if unjudged := len(asked) - len(facts):
        left_out["questions"] = f"{unjudged} of {len(asked)} questions already contain their answer"
    if len(audited) < len(known):
        left_out["facts"] = f"{len(known) - len(audited)} of {len(known)} facts that it knew: audit.level=quick"
    return KnownFacts(known, tuple(audited), left_out)
