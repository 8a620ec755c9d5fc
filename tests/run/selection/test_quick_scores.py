"""Which questions a score during training asks, and which bounds it cannot show."""

from __future__ import annotations

from typing import Any, cast

import pytest

from efface.errors import EffaceError
from efface.evaluation.config import EvaluateConfig
from efface.records import Record
from efface.run.selection.held_out import hold_out
from efface.run.selection.quick_scores import QuickScores
from efface.schema import EvaluationSet, Item
from support.messages import assert_names


def a_set(name: str, size: int) -> EvaluationSet:
    items = tuple(
        Item(id=f"{name}/{number}", question=f"Where is {number}?", answer=f"In {number}.") for number in range(size)
    )
    return EvaluationSet(name=name, items=items, entailment_premise="output")


def answered(set_: EvaluationSet, *, unknown: int = 0) -> list[Record]:
    """Right answers, but for the first questions."""
    return [
        Record(
            set=set_.name,
            id=item.id,
            question=item.question,
            answer=item.answer,
            output="no" if number < unknown else item.answer,
            output_token_ids=[1],
            retokenized_output_ids=[1],
            answer_logprobs=[-0.1],
            paraphrased_logprobs=None,
            perturbed_logprobs=[[-3.0]],
            embedding_target=item.answer,
            embedder=None,
            cosine_answer=None,
            cosine_before=None,
            entailment_target=item.answer,
            entailment_premise="output",
            judge=None,
            entailment_label=None,
            missing={"entailment": "no judge", "cosine_similarity": "no embedder"},
        )
        for number, item in enumerate(set_.items)
    ]


def quick(facts: int, unknown: int) -> QuickScores:
    sets = a_set("forget", 4), a_set("known_facts", facts)
    before = {"forget": answered(sets[0]), "known_facts": answered(sets[1], unknown=unknown)}
    return QuickScores(
        hold_out(sets, None),
        before,
        formatter=cast(Any, None),
        config=EvaluateConfig(judge="none", embedder="none"),
        definition_name="closer-look",
        own_answers=True,
    )


def test_only_facts_that_were_known_are_asked() -> None:
    scores = quick(100, unknown=60)
    facts = next(each for each in scores._sets if each.name == "known_facts")
    assert 0 < len(facts.items) < 40
    assert all(int(item.id.split("/")[1]) >= 60 for item in facts.items)


def test_a_bound_that_so_few_facts_cannot_show_is_refused() -> None:
    quick(100, unknown=0).check(0.95)
    scores = quick(100, unknown=60)
    scores.check(0.8)
    with pytest.raises(EffaceError) as raised:
        scores.check(0.95)
    assert_names(str(raised.value), "keep=0.95", "facts", "data.known_facts")
