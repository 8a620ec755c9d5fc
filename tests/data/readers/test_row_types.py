from __future__ import annotations

from typing import Any

import pytest

from efface.data.file_settings import ColumnsConfig
from efface.data.readers.row_types import detect_schema, ignored_columns, ignored_message_keys
from efface.schema import Turn
from support.messages import assert_names
from support.user_data import ASSISTANT, PAIR, USER, items_error, make_table, to_items

SYSTEM = Turn(role="system", content="Be brief.")
ONE = [("Who?", (), "Ann.")]
WITH_SYSTEM = [("Who?", (SYSTEM,), "Ann.")]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"question": "Who?", "answer": "Ann."}, ONE),
        ({"question": "Who?", "answer": "Ann.", "system": "Be brief."}, WITH_SYSTEM),
        ({"question": "Who?", "answer": "Ann.", "system": " "}, ONE),
        ({"prompt": "Who?", "completion": " Ann."}, [("Who?", (), " Ann.")]),
        ({"prompt": [USER], "completion": [ASSISTANT]}, ONE),
        ({"prompt": [USER], "completion": "Ann.", "system": "Be brief."}, WITH_SYSTEM),
        ({"prompt": [SYSTEM.model_dump(), USER], "completion": [ASSISTANT]}, WITH_SYSTEM),
        ({"prompt": "Who?", "completion": [ASSISTANT]}, ONE),
        ({"instruction": "Who?", "input": "", "output": "Ann."}, ONE),
        ({"instruction": "Who?", "input": "In 1949.", "output": "Ann."}, [("Who?\n\nIn 1949.", (), "Ann.")]),
        ({"instruction": "Who?", "output": "Ann.", "system": "Be brief."}, WITH_SYSTEM),
        ({"instruction": "Who?", "context": "In 1949.", "response": "Ann."}, [("Who?\n\nIn 1949.", (), "Ann.")]),
        ({"prompt": "Who?", "response": "Ann."}, ONE),
        ({"input": "Who?", "output": "Ann."}, ONE),
        ({"query": "Who?", "answer": "Ann."}, ONE),
        ({"query": "Who?", "response": "Ann."}, ONE),
        ({"query": "Who?", "input": "x", "output": "Ann."}, ONE),
        ({"question": "Who\r\nis it?", "answer": "Ann.\r\n"}, [("Who\nis it?", (), "Ann.\n")]),
        ({"messages": [{**USER, "role": "User"}, {**ASSISTANT, "role": "Model"}]}, ONE),
        ({"messages": [{"role": "developer", "content": "Be brief."}, USER, ASSISTANT]}, WITH_SYSTEM),
        ({"messages": [{"role": "system", "content": " "}, USER, ASSISTANT], "system": "Be brief."}, WITH_SYSTEM),
        ({"messages": [{"role": "system", "content": None}, USER, ASSISTANT]}, ONE),
        ({"messages": [USER, ASSISTANT]}, ONE),
        ({"messages": [USER, ASSISTANT], "prompt": "Who?", "completion": "x"}, ONE),
        ({"messages": [USER, ASSISTANT], "system": "Be brief."}, WITH_SYSTEM),
        ({"messages": [SYSTEM.model_dump(), USER, ASSISTANT, USER], "system": None}, WITH_SYSTEM),
        (
            {
                "messages": [
                    {**USER, "content": [{"type": "text", "text": "Wh"}, {"type": "text", "text": "o?"}]},
                    ASSISTANT,
                ]
            },
            ONE,
        ),
        ({"messages": [{**USER, "tool_calls": None}, {**ASSISTANT, "tool_calls": []}]}, ONE),
        ({"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Ann."}]}, ONE),
    ],
)
def test_questions_and_answers(row: dict[str, Any], expected: list[tuple[str, tuple[Turn, ...], str]]) -> None:
    found = to_items(row)
    assert [(item.question, item.history, item.answer) for item in found] == expected
    assert [(item.id, item.passage) for item in found] == [("forget/0001", False)]
    assert to_items({name.upper(): value for name, value in row.items()}) == found


def test_ignored_message_keys() -> None:
    thought = {**ASSISTANT, "reasoning_content": "Hm.", "tool_calls": None, "weight": 1, "tokens": 3, "refusal": " "}
    data = make_table({"messages": [USER, ASSISTANT]}, {"messages": [{**USER, "name": "Bob"}, thought]})
    assert ignored_message_keys(data, detect_schema(data, ColumnsConfig(), "data.forget")) == [
        "name",
        "reasoning_content",
    ]
    pairs = make_table({"prompt": [USER], "completion": [thought]})
    assert ignored_message_keys(pairs, detect_schema(pairs, ColumnsConfig(), "data.forget")) == ["reasoning_content"]


@pytest.mark.parametrize("column", ["text", "document", "content", "passage"])
def test_documents(column: str) -> None:
    first, second, third = to_items(
        {column: "Ann Lee wrote poems. She lived in Turku.\n\nThe end."}, {column: "Short.", "title": "A title"}
    )
    assert [item.id for item in (first, second, third)] == ["forget/0001/1", "forget/0001/2", "forget/0002"]
    assert [item.answer for item in (first, second, third)] == [
        "Ann Lee wrote poems. She lived in Turku.",
        "The end.",
        "Short.",
    ]
    assert all(item.passage and item.question == "" for item in (first, second, third))


def test_a_row_with_question_and_text_is_a_question() -> None:
    [item] = to_items({"text": "Who? Ann.", "question": "Who?", "answer": "Ann."})
    assert not item.passage


@pytest.mark.parametrize(
    ("row", "columns", "expected"),
    [
        ({"q": "Who?", "a": "Ann."}, {"question": "q", "answer": "a"}, ONE),
        ({"question": "Who?", "a.b": "Ann."}, {"answer": "a.b"}, ONE),
        ({"question": "Who?", "answers": {"text": ["Ann."]}}, {"answer": "answers.text.0"}, ONE),
        ({"prompt": "Who?", "answer": "No.", "best": "Ann."}, {"answer": "best"}, ONE),
        ({"prompt": "Who?", "question": "Ann."}, {"answer": "question"}, ONE),
        ({"answer": "Who?", "output": "Ann."}, {"question": "answer"}, ONE),
        ({"question": "No?", "answer": "No.", "chat": [USER, ASSISTANT]}, {"messages": "chat"}, ONE),
        (
            {"q": [USER], "a": [ASSISTANT], "sys": "Be brief."},
            {"question": "q", "answer": "a", "system": "sys"},
            WITH_SYSTEM,
        ),
        ({"x": {"y": [[USER, ASSISTANT]]}}, {"messages": "x.y.0"}, ONE),
        ({"query": "Who?", "output": "Ann.", "input": "x"}, {"question": "query"}, ONE),
    ],
)
def test_columns_can_be_named(row: dict[str, Any], columns: dict[str, str], expected: list[Any]) -> None:
    assert [(item.question, item.history, item.answer) for item in to_items(row, **columns)] == expected


def test_a_text_column_that_is_set_takes_precedence() -> None:
    [item] = to_items({"question": "Who?", "answer": "Ann.", "body": "Ann Lee wrote."}, text="body")
    assert (item.answer, item.passage) == ("Ann Lee wrote.", True)


def test_optional_columns_can_be_named() -> None:
    row = {
        "prompt": [USER],
        "completion": [ASSISTANT],
        "wrong": ["Bob.", "Cid."],
        "fact": "Ann",
        "perturbed_answer": "Dan.",
    }
    [item] = to_items(row, perturbed_answers="wrong", key_fact="fact")
    assert (item.perturbed_answers, item.key_fact) == (("Dan.", "Bob.", "Cid."), "Ann")


def test_an_optional_column_may_be_absent_in_some_rows() -> None:
    first, second = to_items({"question": "Who?", "answer": "Ann."}, {**PAIR, "fact": "Ann"}, key_fact="fact")
    assert (first.key_fact, second.key_fact) == (None, "Ann")


def test_ignored_columns() -> None:
    data = make_table({**PAIR, "topic": 1, "answers": {"text": ["x"]}}, {**PAIR, "id": 2, "answers": None})
    assert ignored_columns(data, detect_schema(data, ColumnsConfig(), "data.forget")) == ["answers", "id", "topic"]
    columns = ColumnsConfig(answer="answers.text.0")
    assert ignored_columns(data, detect_schema(data, columns, "data.forget")) == ["answer", "id", "topic"]
    chat = make_table({"messages": [USER, ASSISTANT], "key_fact": "Ann"})
    assert ignored_columns(chat, detect_schema(chat, ColumnsConfig(), "data.forget")) == ["key_fact"]


def test_a_published_column_is_not_treated_as_misspelled() -> None:
    data = make_table({**PAIR, "key_facts": ["Ann"]}, is_published=True)
    assert ignored_columns(data, detect_schema(data, ColumnsConfig(), "data.forget")) == ["key_facts"]
    assert "line 1: unknown column 'key_facts'; rename it to 'key_fact' or remove it" in items_error(
        {**PAIR, "key_facts": ["Ann"]}
    )


def test_ids_of_several_answers_are_numbered() -> None:
    turns = [USER, ASSISTANT, {**USER, "content": "Sure?"}, {**ASSISTANT, "content": "Yes."}]
    first, second = to_items({"messages": turns, "system": "Be brief."})
    assert (first.id, first.question, first.history, first.answer) == ("forget/0001/1", "Who?", (SYSTEM,), "Ann.")
    assert (second.id, second.question, second.answer) == ("forget/0001/2", "Sure?", "Yes.")
    assert [turn.content for turn in second.history] == ["Be brief.", "Who?", "Ann."]


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"prompt": [USER, ASSISTANT], "completion": [ASSISTANT]}, ["'prompt' is not from the user", "end it with"]),
        ({"prompt": [{"role": "system", "content": ""}], "completion": "x"}, ["'prompt' is not from the user"]),
        ({"prompt": [USER], "completion": [ASSISTANT, USER]}, ["'completion' must be one message from the assistant"]),
        ({"prompt": [USER], "completion": [USER]}, ["'completion' must be one message", "columns.messages"]),
        ({"prompt": [USER], "completion": []}, ["'completion' must be text, not a list", "convert it"]),
        (
            {"prompt": [SYSTEM.model_dump(), USER], "completion": "x", "system": "y"},
            ["column 'system' and the first message are both system prompts", "remove one"],
        ),
        ({"prompt": "Who?", "completion": "Ann.", "system": 3}, ["'system' must be text, not a number"]),
        ({"instruction": "Who?", "input": ["x"], "output": "Ann."}, ["'input' must be text, not a list"]),
        ({"question": "Who?", "answer": 1949}, ["'answer' must be text, not a number", "convert it"]),
        ({"question": "Who?", "answer": True}, ["'answer' must be text, not true or false"]),
        ({"text": None}, ["'text' is null or empty", "fill it in or remove the row"]),
        ({"text": " \n"}, ["'text' is blank"]),
    ],
)
def test_errors_about_a_row(row: dict[str, Any], named: list[str]) -> None:
    assert_names(items_error(row), *["mine.jsonl, line 1: ", *named])


def test_the_first_row_decides() -> None:
    conversation = {"messages": [USER, ASSISTANT]}
    assert_names(items_error(PAIR, conversation), *["mine.jsonl, line 2", "no column 'question'", "has: messages"])
    assert_names(items_error(conversation, PAIR), *["mine.jsonl, line 2", "column 'messages' must be a list"])


@pytest.mark.parametrize(
    ("row", "columns", "named"),
    [
        (
            PAIR,
            {"question": "answer", "answer": "answer"},
            ["data.forget.columns.question and .answer are both answer", "a different column for each"],
        ),
        (PAIR, {"answer": "anwser"}, ["data.forget.columns.answer=anwser", "mine.jsonl has no such column", "answer"]),
        (PAIR, {"answer": "answer.0"}, ["data.forget.columns.answer=answer.0", "mine.jsonl has no such column"]),
        ({"m": 1, "t": 2}, {"messages": "m", "text": "t"}, ["columns.text=t", "a conversation", "remove it"]),
        (
            {"t": "x"},
            {"text": "t", "key_fact": "t"},
            ["columns.key_fact=t", "a document", "columns are text", "remove"],
        ),
        ({"messages": [USER, ASSISTANT], "n": 1}, {"name": "n"}, ["columns.name=n", "a conversation", "remove it"]),
    ],
)
def test_errors_about_column_settings(row: dict[str, Any], columns: dict[str, str], named: list[str]) -> None:
    assert_names(items_error(row, **columns), *named)


def test_a_column_setting_must_match_every_row() -> None:
    rows = [{"question": "Who?", "answers": {"text": ["Ann."]}}, {"question": "When?", "answers": {"text": []}}]
    assert_names(
        items_error(*rows, answer="answers.text.0"), *["line 2", "the list answers.text is empty", "fill it in"]
    )
    assert_names(
        items_error(rows[0], {"question": "When?", "answers": None}, answer="answers.text.0"),
        *["line 2", "no column 'answers.text.0'", "add it (the row has: question, answers)"],
    )
    assert "has no such column" in items_error(*rows, answer="answers.text.first")


def test_a_document_with_a_role_is_a_document() -> None:
    [item] = to_items({"role": "Engineer", "content": "x", "text": "She builds bridges of steel."})
    assert (item.answer, item.passage) == ("She builds bridges of steel.", True)
