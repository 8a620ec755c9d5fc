"""What is said about columns that do not tell what they hold, or that a row lacks."""

from __future__ import annotations

from typing import Any

import pytest

from efface.data.config import ColumnsConfig
from efface.data.readers.row_types import detect_schema, ignored_columns
from efface.data.readers.table import SourceRow, Table
from efface.errors import EffaceError

USER, SAID = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ann."}
PAIR_ROW = {"question": "Who?", "answer": "Ann."}


def read(*rows: dict[str, Any], **columns: str) -> None:
    made = tuple(SourceRow("mine.jsonl", number, row, unit="line") for number, row in enumerate(rows, 1))
    table = Table("mine.jsonl", made, sha256="")
    shape = detect_schema(table, ColumnsConfig(**columns), "data.forget")
    ignored_columns(table, shape)
    for row in made:
        shape.items(row, "forget/0001", 40)


def refusal(*rows: dict[str, Any], **columns: str) -> str:
    with pytest.raises(EffaceError) as caught:
        read(*rows, **columns)
    return str(caught.value)


@pytest.mark.parametrize(
    ("row", "columns", "sentence"),
    [
        (
            {"a": "x", "b": "y"},
            {},
            "mine.jsonl: the names of its columns (a, b) do not tell what they hold; give data.forget.columns.question="
            "NAME and data.forget.columns.answer=NAME, or data.forget.columns.messages=NAME for conversations, or "
            "data.forget.columns.text=NAME for documents",
        ),
        (
            {"question": "Who?", "anwser": "Ann."},
            {},
            "mine.jsonl has a column for the question (question), but the names of the others do not tell the answer "
            "(columns: question, anwser); give data.forget.columns.answer=anwser",
        ),
        ({"quest": "Who?", "output": "Ann."}, {}, "(columns: quest, output); give data.forget.columns.question=quest"),
        (
            {"prompt": "Who?", "chosen": "Ann.", "rejected": "Bob."},
            {},
            "(columns: prompt, chosen, rejected); give data.forget.columns.answer=chosen",
        ),
        (
            {"question": "Who?", "answers": {"answer_start": [3], "text": ["Ann."]}},
            {},
            "give data.forget.columns.answer=answers.text.0",
        ),
        ({"question": "Who?", "answers": {"id": "7", "text": "Ann."}}, {}, "columns.answer=answers.text"),
        ({"question": "Who?", "answers": [{"start": 3, "text": "Ann."}]}, {}, "columns.answer=answers.0.text"),
        ({"question": "Who?", "answers": {"n": 3}}, {}, "columns.answer=answers"),
        ({"message": [{"human": "Who?"}], "x": 1}, {}, "or data.forget.columns.messages=message for conversations"),
        (PAIR_ROW, {"question": "answer"}, "(columns: question, answer); give data.forget.columns.answer=NAME"),
        (
            PAIR_ROW,
            {"question": "answer", "answer": "answer"},
            "data.forget.columns.question and .answer are both answer; give a column of its own to each",
        ),
        (
            USER,
            {},
            "line 1: the columns role and content make the row one message of a conversation; wrap the messages of a "
            'conversation into one row as {"messages": [...]}',
        ),
        ({"from": "human", "value": "Who?"}, {}, "the columns from and value make the row one message"),
        ({"Role": "user", "Content": "Who?"}, {}, "the columns role and content make the row one message"),
        ({"Question": "Who?", "QUESTION": "When?", "answer": "Ann."}, {}, "do not tell the question"),
        ({"q": "Who?", "a": "Ann."}, {"question": "q"}, "a column for the question (q), but the names of the others"),
        ({}, {}, "the names of its columns (none) do not tell"),
        (PAIR_ROW, {"answer": "anwser"}, "data.forget.columns.answer=anwser: mine.jsonl has no such column; did you"),
        (PAIR_ROW, {"answer": "answer.0"}, "data.forget.columns.answer=answer.0: mine.jsonl has no such column"),
        ({"m": 1, "t": 2}, {"messages": "m", "text": "t"}, "columns.text=t means nothing for a conversation, whose"),
        (
            {"t": "x"},
            {"text": "t", "key_fact": "t"},
            "columns.key_fact=t means nothing for a document, whose columns are",
        ),
        ({"messages": [USER, SAID], "n": 1}, {"name": "n"}, "columns.name=n means nothing for a conversation"),
    ],
)
def test_columns_that_do_not_tell(row: dict[str, Any], columns: dict[str, str], sentence: str) -> None:
    assert sentence in refusal(row, **columns)


def test_a_value_that_one_row_lacks_is_missed() -> None:
    rows = [{"question": "Who?", "answers": {"text": ["Ann."]}}, {"question": "When?", "answers": {"text": []}}]
    sentence = "line 2: the list answers.text is empty; remove the row or fill it in"
    assert sentence in refusal(*rows, answer="answers.text.0")
    lacking: dict[str, Any] = {"question": "When?", "answers": None}
    sentence = "line 2: no column 'answers.text.0'; add it (the row has: question, answers)"
    assert sentence in refusal(rows[0], lacking, answer="answers.text.0")
    assert "has no such column" in refusal(*rows, answer="answers.text.first")


def test_a_document_with_a_role_is_a_document() -> None:
    row = SourceRow("mine.jsonl", 1, {"role": "Engineer", "content": "x", "text": "She builds bridges of steel."})
    shape = detect_schema(Table("mine.jsonl", (row,), sha256=""), ColumnsConfig(), "data.forget")
    assert [item.answer for item in shape.items(row, "forget/0001", 40)] == ["She builds bridges of steel."]
