"""How often an output would count for a fact that was not asked for: chance, without a model that never knew. No torch.

The design's permutation: outputs are compared with the fact of another question of the same type, and nothing is
generated again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from efface.auditing.fact import Fact, Row
from efface.auditing.rule import FactRule

PERMUTATIONS = 20
"""With a rule that needs no model; a judge with a model compares once."""


@dataclass(frozen=True)
class Chance:
    """Mean share of facts with a chance hit."""

    union: float | None
    """Over the rows that count."""
    attacks: dict[str, float | None]


def chance(
    rows: Mapping[str, Sequence[Row]],
    facts: Sequence[Fact],
    rule: FactRule,
    *,
    counts: Mapping[str, Callable[[Row], bool]],
    seed: int,
) -> Chance:
    """Compare the outputs of each fact with another fact of the same type.

    Args:
        rows: Attack -> its rows of one model.
        facts: That were attacked.
        rule: Decides what is a hit.
        counts: Attack -> whether one of its rows is part of the union.
        seed: Of the permutations.

    Returns:
        Shares of the facts that were compared; None where none was, such as where no fact has another one of its type.
    """
    by_id = {fact.id: fact for fact in facts}
    shares = dict[str, list[float]]()
    for partners in _permutations(facts, PERMUTATIONS if rule.is_cheap else 1, seed):
        compared = {name: _compare(each, by_id, partners, rule) for name, each in rows.items()}
        union = [(row, hit) for name, each in compared.items() for row, hit in each if counts[name](row)]
        for name, pairs in {**compared, "": union}.items():
            if pairs:
                hits = {row.fact for row, hit in pairs if hit}
                shares.setdefault(name, []).append(len(hits) / len({row.fact for row, _ in pairs}))
    means = {name: float(np.mean(each)) for name, each in shares.items()}
    return Chance(means.get(""), {name: means.get(name) for name in rows})


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


def _compare(
    rows: Sequence[Row], facts: Mapping[str, Fact], partners: Mapping[str, Fact], rule: FactRule
) -> list[tuple[Row, bool]]:
    """Each output of a row, by the row and whether it says the partner of the row's fact."""
    pairs = [
        (row, partners[row.fact], output)
        for row in rows
        if row.hit is not None and row.fact in partners and partners[row.fact].id not in row.shown
        for output in dict.fromkeys(row.outputs or (row.output,))
    ]
    questions = [facts[row.fact].question for row, _, _ in pairs]
    stated = rule.says([partner for _, partner, _ in pairs], [output for _, _, output in pairs], questions)
    return [(row, says) for (row, _, _), says in zip(pairs, stated, strict=True)]


def _text(fact: Fact) -> str:
    return (fact.key_fact or fact.answer).casefold()
