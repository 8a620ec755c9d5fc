"""Scores of questions from two sources, and whether they are comparable."""

from __future__ import annotations

from dataclasses import replace

import pytest

from efface.scores.definitions import CLOSER_LOOK
from efface.scores.inputs.metric_inputs import MetricInputs
from efface.scores.leaderboard.question_scores import SetValues, align, incomparable_reason, set_values
from support.answered import NAMES, answered, values_of


def test_questions_are_identified_by_their_answers() -> None:
    """Ids differ between sources; questions with equal answers are distinguished by their order."""
    values = values_of(answered(1, 3))["retain"]
    yes = replace(values, ids=("a", "b", "c"), answers=("Yes", "no", " Yes\n"))
    assert yes.keys == (("Yes", 0), ("no", 0), ("Yes", 1))
    bare = replace(values, ids=("a", "b", "c"), answers=("Yes", None, "no"))
    assert bare.keys == (("a", 0), ("b", 0), ("c", 0))


def test_align_reorders_everything() -> None:
    values = values_of(answered(1, 5))["retain"]
    keys = values.keys[::-1]
    reversed_ = align(values, keys)
    assert reversed_.keys == keys
    assert reversed_.ids == values.ids[::-1]
    assert reversed_.outputs == values.outputs[::-1]
    assert reversed_.columns_NM.tolist() == values.columns_NM[::-1].tolist()
    assert reversed_.scores() == values.scores()


def as_logged(sets: dict[str, SetValues]) -> dict[str, SetValues]:
    """As from a log: numbers for ids, and no texts of the questions."""
    return {
        name: replace(values, ids=tuple(map(str, range(len(values.ids)))), questions={})
        for name, values in sets.items()
    }


def test_models_with_the_same_questions_are_comparable() -> None:
    one, other = values_of(answered(1)), values_of(answered(2))
    assert incomparable_reason(one, other) is None
    assert incomparable_reason(one, as_logged(other)) is None
    assert incomparable_reason(as_logged(one), other) is None
    backwards = {name: align(other[name], other[name].keys[::-1]) for name in reversed(NAMES)}
    assert incomparable_reason(one, backwards) is None


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (answered(2, names=("retain", "forget")), "has the sets retain, real_authors, world_facts, forget, and not"),
        (answered(2, 8), "has 7 questions and not 8 on retain"),
        (answered(2, answer="Oslo."), "has other questions (first retain/0) on retain"),
        (answered(2, question="When?"), "has other questions (first retain/0) on retain"),
        (answered(2, judge="key-facts"), "was scored by the judge nli and not key-facts on retain"),
        (answered(2, embedder=None), "was scored by the embedding model MiniLM and not (unnamed) on retain"),
        (answered(2, judge=None, entailment_label=None), None),
        (answered(2, embedder=None, cosine_answer=None, cosine_before=None), None),
    ],
)
def test_why_models_are_not_comparable(other: dict, reason: str | None) -> None:
    found = incomparable_reason(values_of(answered(1)), values_of(other))
    assert found is None if reason is None else (found or "").startswith(reason)


def test_extraction_strength_is_a_mean_or_nothing() -> None:
    def strength(*predicted: tuple[bool, ...] | None) -> float | None:
        questions = [MetricInputs(id=str(number), predicted=each) for number, each in enumerate(predicted)]
        return set_values("forget", questions, CLOSER_LOOK).scores().extraction_strength

    assert strength((True,), (False, False)) == 0.5
    assert strength((True,), None) is None
