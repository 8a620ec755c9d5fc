"""Questions of two sources side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from efface.scores.leaderboard.question_scores import SetValues, aligned, why_not_comparable
from support.answered import NAMES, answered, values_of


def test_questions_are_known_by_their_answers() -> None:
    """An id is a name in one source and a number in the other; of equal answers, the order counts."""
    values = values_of(answered(1, 3))["retain"]
    yes = replace(values, ids=("a", "b", "c"), answers=("Yes", "no", " Yes\n"))
    assert yes.keys == (("Yes", 0), ("no", 0), ("Yes", 1))
    bare = replace(values, ids=("a", "b", "c"), answers=("Yes", None, "no"))
    assert bare.keys == (("a", 0), ("b", 0), ("c", 0))


def test_aligned_takes_everything_along() -> None:
    values = values_of(answered(1, 5))["retain"]
    keys = values.keys[::-1]
    turned = aligned(values, keys)
    assert turned.keys == keys
    assert turned.ids == values.ids[::-1]
    assert turned.outputs == values.outputs[::-1]
    assert turned.columns_NM.tolist() == values.columns_NM[::-1].tolist()
    assert turned.scores() == values.scores()


def named(sets: dict[str, SetValues]) -> dict[str, SetValues]:
    """As from a log: numbers for ids, and no wording of the questions."""
    return {
        name: replace(values, ids=tuple(map(str, range(len(values.ids)))), questions={})
        for name, values in sets.items()
    }


def test_what_was_asked_the_same_compares() -> None:
    one, other = values_of(answered(1)), values_of(answered(2))
    assert why_not_comparable(one, other) is None
    assert why_not_comparable(one, named(other)) is None
    assert why_not_comparable(named(one), other) is None
    backwards = {name: aligned(other[name], other[name].keys[::-1]) for name in reversed(NAMES)}
    assert why_not_comparable(one, backwards) is None


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (answered(2, names=("retain", "forget")), "has the sets retain, real_authors, world_facts, forget, and not"),
        (answered(2, 8), "has 7 questions and not 8 on retain"),
        (answered(2, answer="Oslo."), "was asked other questions (first retain/0) on retain"),
        (answered(2, question="When?"), "was asked other questions (first retain/0) on retain"),
        (answered(2, judge="key-facts"), "was scored by the judge nli and not key-facts on retain"),
        (answered(2, embedder=None), "was scored by the embedding model MiniLM and not (unnamed) on retain"),
        (answered(2, judge=None, entailment_label=None), None),
        (answered(2, embedder=None, cosine_answer=None, cosine_before=None), None),
    ],
)
def test_why_two_do_not_compare(other: dict, reason: str | None) -> None:
    found = why_not_comparable(values_of(answered(1)), values_of(other))
    assert found is None if reason is None else (found or "").startswith(reason)
