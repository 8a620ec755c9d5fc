"""Outputs are judged by every model that is there."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from efface.errors import EffaceError
from efface.evaluation.judging.judges import Judges
from efface.evaluation.judging.judgments import NOT_ASKED, SetItem, judge_outputs
from efface.schema import EvaluationSet, Item
from support.messages import assert_names

ITEM = Item(id="q/1", question="Where is it?", answer="It is in Oslo.", key_fact="Oslo")
REASONS: Any = {"cosine_similarity": "no embedder", "entailment": "no judge"}


def in_set(**settings: Any) -> SetItem:
    given = {"name": "retain", "items": (ITEM,), "entailment_premise": "output", **settings}
    return SetItem(EvaluationSet(**given), ITEM)


class LengthEmbedder:
    name = "toy embedder"

    def cosines(self, texts, *others):
        return [[1 / (1 + abs(len(a) - len(b))) for a, b in zip(texts, each, strict=True)] for each in others]


def judged(set_items, outputs, judges, before=None):
    return judge_outputs(set_items, outputs, before, judges, journal=None, progress=lambda share: None)


def test_without_models_key_facts_judge_the_sets_that_ask_for_it():
    facts, other = judged(
        [in_set(key_facts_only=True), in_set()], ["In Oslo.", "In Oslo."], Judges(None, None, REASONS)
    )
    assert (facts.verdict.label, facts.verdict.reason) == ("entailment", None)
    assert (other.verdict.label, other.verdict.reason) == (None, "no judge")
    assert facts.cosine_answer is facts.cosine_before is facts.not_gibberish is None


def test_outputs_are_compared_with_the_answer_and_with_those_before():
    judges = Judges(LengthEmbedder(), None, REASONS)  # type: ignore[arg-type]
    outputs = [ITEM.answer + "?", ITEM.answer]
    first, second = judged([in_set(), in_set()], outputs, judges, before=[ITEM.answer, ITEM.answer])
    assert [first.cosine_answer, first.cosine_before, second.cosine_answer] == [0.5, 0.5, 1.0]
    (alone,) = judged([in_set()], outputs[:1], judges)
    assert alone.cosine_before == 1.0  # the model before is compared with itself


def test_what_was_not_asked_is_not_judged():
    judges = Judges(LengthEmbedder(), None, REASONS)  # type: ignore[arg-type]
    (found,) = judged([in_set(max_new_tokens=0)], [""], judges)
    assert (found.cosine_answer, found.verdict.reason) == (None, NOT_ASKED)


def test_models_that_do_not_fit():
    class Full(LengthEmbedder):
        def cosines(self, texts, *others):
            raise torch.OutOfMemoryError

    with pytest.raises(EffaceError) as raised:
        judged([in_set()], ["In Oslo."], Judges(Full(), None, REASONS))  # type: ignore[arg-type]
    assert_names(str(raised.value), "evaluate.embedder=none", "evaluate.judge=key-facts", "device=cpu")
