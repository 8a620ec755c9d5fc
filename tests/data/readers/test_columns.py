from __future__ import annotations

from typing import Any

import pytest

from efface.data.readers.columns import column_names, first_column, match_column
from support.messages import assert_names
from support.user_data import PAIR, USER, items_error, make_table


@pytest.mark.parametrize(
    ("columns", "expected"),
    [(["Answer"], "Answer"), (["Answer", "answer"], "answer"), (["Answer", "ANSWER"], "answer"), ([], "answer")],
)
def test_columns_match_ignoring_case_if_only_one_does(columns: list[str], expected: str) -> None:
    assert match_column(columns, "answer") == expected


def test_the_first_name_that_a_row_has() -> None:
    table = make_table({"Output": "x", "answer": None}, {"other": "y"})
    assert first_column(table.rows[0], ("response", "answer", "output")) == "answer"
    assert first_column(table.rows[0], ("response", "output")) == "Output"
    assert first_column(table.rows[1], ("response", "output")) is None
    assert column_names(table) == ["Output", "answer", "other"]


@pytest.mark.parametrize(
    ("row", "columns", "named"),
    [
        (
            {"a": "x", "b": "y"},
            {},
            [
                "mine.jsonl",
                "(a, b)",
                "data.forget.columns.question=NAME and data.forget.columns.answer=NAME",
                "data.forget.columns.messages=NAME for conversations",
                "data.forget.columns.text=NAME for documents",
            ],
        ),
        (
            {"question": "Who?", "anwser": "Ann."},
            {},
            [
                "mine.jsonl",
                "question (question)",
                "(columns: question, anwser)",
                "give data.forget.columns.answer=anwser",
            ],
        ),
        ({"quest": "Who?", "output": "Ann."}, {}, ["(columns: quest, output)", "data.forget.columns.question=quest"]),
        (
            {"prompt": "Who?", "chosen": "Ann.", "rejected": "Bob."},
            {},
            ["(columns: prompt, chosen, rejected)", "give data.forget.columns.answer=chosen"],
        ),
        (
            {"question": "Who?", "answers": {"answer_start": [3], "text": ["Ann."]}},
            {},
            ["give data.forget.columns.answer=answers.text.0"],
        ),
        ({"question": "Who?", "answers": {"id": "7", "text": "Ann."}}, {}, ["columns.answer=answers.text"]),
        ({"question": "Who?", "answers": [{"start": 3, "text": "Ann."}]}, {}, ["columns.answer=answers.0.text"]),
        ({"question": "Who?", "answers": {"n": 3}}, {}, ["columns.answer=answers"]),
        ({"message": [{"human": "Who?"}], "x": 1}, {}, ["data.forget.columns.messages=message for conversations"]),
        (PAIR, {"question": "answer"}, ["(columns: question, answer)", "give data.forget.columns.answer=NAME"]),
        ({"Question": "Who?", "QUESTION": "When?", "answer": "Ann."}, {}, ["as the question"]),
        ({"q": "Who?", "a": "Ann."}, {"question": "q"}, ["a column for the question (q)", "columns.answer="]),
        ({}, {}, ["the names of its columns (none)"]),
        (USER, {}, ["line 1", "role and content", "one message of a conversation", '{"messages": [...]}']),
        ({"from": "human", "value": "Who?"}, {}, ["from and value", "one message of a conversation"]),
        ({"Role": "user", "Content": "Who?"}, {}, ["role and content", "one message of a conversation"]),
    ],
)
def test_errors_about_columns_that_are_not_recognized(
    row: dict[str, Any], columns: dict[str, str], named: list[str]
) -> None:
    assert_names(items_error(row, **columns), *named)
