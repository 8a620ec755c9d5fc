"""How often an output would count for a fact that was not asked for: chance, without a model that never knew. No torch.

The design's permutation: outputs are compared with the fact of another question of the same type, and nothing is
generated again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from efface.auditing.attack import Fact, Row
from efface.auditing.rule import FactRule

PERMUTATIONS = 20
"""With a rule that needs no model; a judge with a model compares once."""


@dataclass(frozen=True)
class Chance:
    """Mean share of facts with a chance hit."""

    union: float | None
    attacks: dict[str, float | None]


def chance(
    rows: Mapping[str, Sequence[Row]], facts: Sequence[Fact], rule: FactRule, *, counted: Iterable[str], seed: int
) -> Chance:
    """Compare the outputs of each fact with another fact of the same type.

    Args:
        rows: Attack -> its rows of one model that count.
        facts: That were attacked.
        rule: Decides what is a hit.
        counted: The attacks of the union.
        seed: Of the permutations.

    Returns:
        Shares; None where no fact has another one of its type.
    """
    by_id = {fact.id: fact for fact in facts}
    in_union, shares = set(counted), dict[str, list[float]]()
    for partners in _permutations(facts, PERMUTATIONS if rule.is_cheap else 1, seed):
        if not partners:
            return Chance(None, dict.fromkeys(rows))
        hits = {name: _hits(each, by_id, partners, rule) for name, each in rows.items()}
        union = set[str]().union(*(found for name, found in hits.items() if name in in_union))
        for name, found in {**hits, "": union}.items():
            shares.setdefault(name, []).append(len(found) / len(partners))
    means = {name: float(np.mean(each)) for name, each in shares.items()}
    return Chance(means.pop(""), {name: means[name] for name in rows})


def _permutations(facts: Sequence[Fact], count: int, seed: int) -> list[dict[str, Fact]]:
    """Id of a fact -> another fact of its type, `count` times; without facts that have no other one."""
    random = np.random.default_rng(seed)
    types: dict[str, list[Fact]] = {}
    for fact in sorted(facts, key=lambda fact: fact.id):
        types.setdefault(fact.answer_type, []).append(fact)
    found = []
    for _ in range(count):
        partners: dict[str, Fact] = {}
        for group in types.values():
            for fact in group:
                others = [other for other in group if _text(other) != _text(fact)]
                if others:
                    partners[fact.id] = others[int(random.integers(len(others)))]
        found.append(partners)
    return found


def _hits(rows: Sequence[Row], facts: Mapping[str, Fact], partners: Mapping[str, Fact], rule: FactRule) -> set[str]:
    """Ids of the facts of which an output says the partner."""
    pairs = [
        (row.fact, partners[row.fact], output)
        for row in rows
        if row.hit is not None and row.fact in partners and partners[row.fact].id not in row.shown
        for output in dict.fromkeys(row.outputs or (row.output,))
    ]
    questions = [facts[asked].question for asked, _, _ in pairs]
    told = rule.says([partner for _, partner, _ in pairs], [output for _, _, output in pairs], questions)
    return {asked for (asked, _, _), says in zip(pairs, told, strict=True) if says}


def _text(fact: Fact) -> str:
    return (fact.key_fact or fact.answer).casefold()
