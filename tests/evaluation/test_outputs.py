"""Outputs of sets with their own limits and stop strings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from efface.evaluation.encode import encode_questions
from efface.evaluation.generate import Generation, generate
from efface.evaluation.outputs import cut_at_stop, generate_outputs
from efface.schema import Item

ITEMS = [Item(id=str(n), question=f"Who wrote book {n}?", answer="A poet.") for n in range(3)]


def test_each_question_has_its_own_limit(model, formatter):
    limits, done = (5, 0, 2), []
    questions = [
        replace(question, max_new_tokens=limit)
        for question, limit in zip(encode_questions(formatter, ITEMS), limits, strict=True)
    ]
    outputs = generate_outputs(model, formatter, questions, max_cache_tokens=None, progress=done.append, journal=None)
    alone = [
        generate(model, formatter, [item.prompt], max_new_tokens=limit, max_cache_tokens=None)[0] if limit else None
        for item, limit in zip(ITEMS, limits, strict=True)
    ]
    assert outputs == [alone[0], Generation([], ""), alone[2]]
    assert len(outputs[0].token_ids) == 5
    assert done[-1] == 3


def ids_of(formatter, text: str) -> list[int]:
    return list(formatter.tokenizer(text, add_special_tokens=False).input_ids)


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ((), "In 1900.\n\nQuestion: When?"),
        (("\n\n", "Question:"), "In 1900."),
        (("Question:", "\n\n"), "In 1900."),
        (("In",), ""),
        (("Answer",), "In 1900.\n\nQuestion: When?"),
    ],
)
def test_an_output_ends_before_the_first_stop_string(formatter, stop, expected):
    text = "In 1900.\n\nQuestion: When?"
    ids = ids_of(formatter, text)
    cut = cut_at_stop(Generation(ids, formatter.tokenizer.decode(ids)), stop, formatter.tokenizer)
    assert cut.text == expected
    assert cut.token_ids == ids[: len(cut.token_ids)]
    assert expected.startswith(formatter.tokenizer.decode(cut.token_ids))
    assert len(cut.token_ids) == len(ids) or len(formatter.tokenizer.decode(ids[: len(cut.token_ids) + 1])) > len(
        expected
    )
