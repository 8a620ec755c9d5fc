from __future__ import annotations

from typing import Any

import pytest

from efface.data.items import OPTIONAL_COLUMNS, build_item, to_item
from efface.data.readers.table import SourceRow
from efface.errors import EffaceError
from efface.schema import Prompt, Turn
from support.messages import assert_names

EVERY_COLUMN: dict[str, Any] = {
    "question": "Who wrote it?",
    "answer": "It was Ann Lee.",
    "golden_answer": "Ann Lee",
    "original_answer": "The author was Ann Lee.",
    "paraphrased_question": "By whom?",
    "paraphrased_answer": "Ann Lee did.",
    "perturbed_answers": ["Bob did.", "Cid did."],
    "alternate_answers": ["Dan did.", "Eve did."],
    "key_fact": "ann LEE",
    "name": "Ann",
}


def row(**values: object) -> SourceRow:
    return SourceRow("mine.jsonl", 7, values, unit="line")


def test_every_column_is_read() -> None:
    item = to_item(row(**EVERY_COLUMN), "forget/0001")
    expected = {name: value for name, value in EVERY_COLUMN.items() if name != "name"}
    assert item.model_dump(exclude_none=True, exclude={"history", "passage"}) == {
        **expected,
        "id": "forget/0001",
        "entity": "Ann",
        "perturbed_answers": ("Bob did.", "Cid did."),
        "alternate_answers": ("Dan did.", "Eve did."),
    }


def test_columns_may_have_other_names() -> None:
    prompt = Prompt("Who?", (Turn(role="system", content="Be brief."),))
    names = {name: name for name in OPTIONAL_COLUMNS} | {"perturbed_answers": "wrong", "key_fact": "fact"}
    values = {"wrong": "Bob.", "perturbed_answer": ["Dan."], "fact": "Ann", "alternate": "Eve."}
    item = build_item(row(**values), "x", prompt, "Ann.", names)
    assert (item.prompt, item.answer) == (prompt, "Ann.")
    assert (item.perturbed_answers, item.key_fact) == (("Dan.", "Bob."), "Ann")
    assert item.alternate_answers == ("Eve.",)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"key_fact": "There"}, ["column 'key_fact' ('There') does not occur in the answer", "copy it"]),
        ({"golden_answer": "Bob"}, ["column 'key_fact' ('ann LEE') does not occur in the answer"]),
        ({"paraphrased_answer": ""}, ["column 'paraphrased_answer' is blank", "fill it in"]),
        ({"perturbed_answers": ["a", ["b"]]}, ["column 'perturbed_answers' must be text, not a list"]),
        ({"answer": None}, ["column 'answer' is null or empty", "fill it in or remove the row"]),
    ],
)
def test_errors(changes: dict[str, object], named: list[str]) -> None:
    with pytest.raises(EffaceError) as caught:
        to_item(row(**(EVERY_COLUMN | changes)), "forget/0001")
    assert_names(str(caught.value), *["mine.jsonl, line 7: ", *named])
