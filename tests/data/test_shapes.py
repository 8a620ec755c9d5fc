"""What rows hold: found from their columns, or as the settings say."""

from __future__ import annotations

from typing import Any

import pytest

from efface.data.config import ColumnsConfig
from efface.data.readers.row_types import detect_schema, ignored_columns, ignored_message_keys
from efface.data.readers.table import SourceRow, Table
from efface.errors import EffaceError
from efface.schema import Item, Turn

USER, SAID = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ann."}
SYSTEM = Turn(role="system", content="Be brief.")
PAIR_ROW = {"question": "Who?", "answer": "Ann."}
PAIR = [("Who?", (), "Ann.")]
TOLD = [("Who?", (SYSTEM,), "Ann.")]


def table(*rows: dict[str, Any], is_published: bool = False) -> Table:
    made = tuple(SourceRow("mine.jsonl", number, row, unit="line") for number, row in enumerate(rows, 1))
    return Table("mine.jsonl", made, sha256="", is_published=is_published)


def items(*rows: dict[str, Any], **columns: str) -> list[Item]:
    data = table(*rows)
    shape = detect_schema(data, ColumnsConfig(**columns), "data.forget")
    ignored_columns(data, shape)
    return [item for row in data.rows for item in shape.items(row, f"forget/{row.number:04d}", 40)]


def refusal(*rows: dict[str, Any], **columns: str) -> str:
    with pytest.raises(EffaceError) as caught:
        items(*rows, **columns)
    return str(caught.value)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"question": "Who?", "answer": "Ann."}, PAIR),
        ({"question": "Who?", "answer": "Ann.", "system": "Be brief."}, TOLD),
        ({"question": "Who?", "answer": "Ann.", "system": " "}, PAIR),
        ({"prompt": "Who?", "completion": " Ann."}, [("Who?", (), " Ann.")]),
        ({"prompt": [USER], "completion": [SAID]}, PAIR),
        ({"prompt": [USER], "completion": "Ann.", "system": "Be brief."}, TOLD),
        ({"prompt": [SYSTEM.model_dump(), USER], "completion": [SAID]}, TOLD),
        ({"prompt": "Who?", "completion": [SAID]}, PAIR),
        ({"instruction": "Who?", "input": "", "output": "Ann."}, PAIR),
        ({"instruction": "Who?", "input": "In 1949.", "output": "Ann."}, [("Who?\n\nIn 1949.", (), "Ann.")]),
        ({"instruction": "Who?", "output": "Ann.", "system": "Be brief."}, TOLD),
        ({"instruction": "Who?", "context": "In 1949.", "response": "Ann."}, [("Who?\n\nIn 1949.", (), "Ann.")]),
        ({"prompt": "Who?", "response": "Ann."}, PAIR),
        ({"input": "Who?", "output": "Ann."}, PAIR),
        ({"query": "Who?", "answer": "Ann."}, PAIR),
        ({"query": "Who?", "response": "Ann."}, PAIR),
        ({"query": "Who?", "input": "x", "output": "Ann."}, PAIR),
        ({"question": "Who\r\nis it?", "answer": "Ann.\r\n"}, [("Who\nis it?", (), "Ann.\n")]),
        ({"messages": [{**USER, "role": "User"}, {**SAID, "role": "Model"}]}, PAIR),
        ({"messages": [{"role": "developer", "content": "Be brief."}, USER, SAID]}, TOLD),
        ({"messages": [{"role": "system", "content": " "}, USER, SAID], "system": "Be brief."}, TOLD),
        ({"messages": [{"role": "system", "content": None}, USER, SAID]}, PAIR),
        ({"messages": [USER, SAID]}, PAIR),
        ({"messages": [USER, SAID], "prompt": "Who?", "completion": "x"}, PAIR),
        ({"messages": [USER, SAID], "system": "Be brief."}, TOLD),
        ({"messages": [SYSTEM.model_dump(), USER, SAID, USER], "system": None}, TOLD),
        (
            {"messages": [{**USER, "content": [{"type": "text", "text": "Wh"}, {"type": "text", "text": "o?"}]}, SAID]},
            PAIR,
        ),
        ({"messages": [{**USER, "tool_calls": None}, {**SAID, "tool_calls": []}]}, PAIR),
        ({"conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Ann."}]}, PAIR),
    ],
)
def test_questions_and_answers(row: dict[str, Any], expected: list[tuple[str, tuple[Turn, ...], str]]) -> None:
    found = items(row)
    assert [(item.question, item.history, item.answer) for item in found] == expected
    assert [(item.id, item.passage) for item in found] == [("forget/0001", False)]
    assert items({name.upper(): value for name, value in row.items()}) == found


def test_every_answer_of_a_conversation_is_an_item() -> None:
    turns = [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "Who?"},
        {"from": "gpt", "value": "Ann."},
        {"from": "human", "value": "Sure?"},
        {"from": "human", "value": "Really?"},
        {"from": "gpt", "value": "Yes."},
    ]
    first, second = items({"conversations": turns})
    assert (first.id, first.question, first.history, first.answer) == ("forget/0001/1", "Who?", (SYSTEM,), "Ann.")
    assert (second.id, second.question, second.answer) == ("forget/0001/2", "Really?", "Yes.")
    assert [turn.content for turn in second.history] == ["Be brief.", "Who?", "Ann.", "Sure?"]


def test_an_answer_without_weight_is_only_said_before() -> None:
    turns = [USER, {**SAID, "weight": 0}, {**USER, "content": "Sure?"}, {**SAID, "content": "Yes.", "weight": 1}]
    [item] = items({"messages": turns})
    assert (item.id, item.question, item.answer) == ("forget/0001", "Sure?", "Yes.")
    assert [turn.content for turn in item.history] == ["Who?", "Ann."]


def test_keys_of_messages_that_are_not_read() -> None:
    thought = {**SAID, "reasoning_content": "Hm.", "tool_calls": None, "weight": 1, "tokens": 3, "refusal": " "}
    data = table({"messages": [USER, SAID]}, {"messages": [{**USER, "name": "Bob"}, thought]})
    assert ignored_message_keys(data, detect_schema(data, ColumnsConfig(), "data.forget")) == [
        "name",
        "reasoning_content",
    ]
    pairs = table({"prompt": [USER], "completion": [thought]})
    assert ignored_message_keys(pairs, detect_schema(pairs, ColumnsConfig(), "data.forget")) == ["reasoning_content"]


@pytest.mark.parametrize("column", ["text", "document", "content", "passage"])
def test_documents(column: str) -> None:
    first, second, third = items(
        {column: "Ann Lee wrote poems. She lived in Turku.\n\nThe end."}, {column: "Short.", "title": "A title"}
    )
    assert [item.id for item in (first, second, third)] == ["forget/0001/1", "forget/0001/2", "forget/0002"]
    assert [item.answer for item in (first, second, third)] == [
        "Ann Lee wrote poems. She lived in Turku.",
        "The end.",
        "Short.",
    ]
    assert all(item.passage and item.question == "" for item in (first, second, third))


def test_a_question_beside_a_text_is_a_question() -> None:
    [item] = items({"text": "Who? Ann.", "question": "Who?", "answer": "Ann."})
    assert not item.passage


@pytest.mark.parametrize(
    ("row", "columns", "expected"),
    [
        ({"q": "Who?", "a": "Ann."}, {"question": "q", "answer": "a"}, PAIR),
        ({"question": "Who?", "a.b": "Ann."}, {"answer": "a.b"}, PAIR),
        ({"question": "Who?", "answers": {"text": ["Ann."]}}, {"answer": "answers.text.0"}, PAIR),
        ({"prompt": "Who?", "answer": "No.", "best": "Ann."}, {"answer": "best"}, PAIR),
        ({"prompt": "Who?", "question": "Ann."}, {"answer": "question"}, PAIR),
        ({"answer": "Who?", "output": "Ann."}, {"question": "answer"}, PAIR),
        ({"question": "No?", "answer": "No.", "chat": [USER, SAID]}, {"messages": "chat"}, PAIR),
        ({"q": [USER], "a": [SAID], "sys": "Be brief."}, {"question": "q", "answer": "a", "system": "sys"}, TOLD),
        ({"x": {"y": [[USER, SAID]]}}, {"messages": "x.y.0"}, PAIR),
        ({"query": "Who?", "output": "Ann.", "input": "x"}, {"question": "query"}, PAIR),
    ],
)
def test_columns_can_be_named(row: dict[str, Any], columns: dict[str, str], expected: list[Any]) -> None:
    assert [(item.question, item.history, item.answer) for item in items(row, **columns)] == expected


def test_a_named_text_comes_before_a_question() -> None:
    [item] = items({"question": "Who?", "answer": "Ann.", "body": "Ann Lee wrote."}, text="body")
    assert (item.answer, item.passage) == ("Ann Lee wrote.", True)


def test_what_is_known_about_an_answer_can_be_named_too() -> None:
    row = {"prompt": [USER], "completion": [SAID], "wrong": ["Bob.", "Cid."], "fact": "Ann", "perturbed_answer": "Dan."}
    [item] = items(row, perturbed_answers="wrong", key_fact="fact")
    assert (item.perturbed_answers, item.key_fact) == (("Dan.", "Bob.", "Cid."), "Ann")


def test_a_setting_counts_in_rows_that_lack_the_column_if_another_has_it() -> None:
    first, second = items({"question": "Who?", "answer": "Ann."}, {**PAIR_ROW, "fact": "Ann"}, key_fact="fact")
    assert (first.key_fact, second.key_fact) == (None, "Ann")


def test_columns_that_are_not_read_are_known() -> None:
    data = table({**PAIR_ROW, "topic": 1, "answers": {"text": ["x"]}}, {**PAIR_ROW, "id": 2, "answers": None})
    assert ignored_columns(data, detect_schema(data, ColumnsConfig(), "data.forget")) == ["answers", "id", "topic"]
    columns = ColumnsConfig(answer="answers.text.0")
    assert ignored_columns(data, detect_schema(data, columns, "data.forget")) == ["answer", "id", "topic"]
    chat = table({"messages": [USER, SAID], "key_fact": "Ann"})
    assert ignored_columns(chat, detect_schema(chat, ColumnsConfig(), "data.forget")) == ["key_fact"]


def test_a_published_column_is_not_taken_for_a_misspelled_one() -> None:
    data = table({**PAIR_ROW, "key_facts": ["Ann"]}, is_published=True)
    assert ignored_columns(data, detect_schema(data, ColumnsConfig(), "data.forget")) == ["key_facts"]
    assert "line 1: unknown column 'key_facts'; rename it to 'key_fact' or remove it" in refusal(
        {**PAIR_ROW, "key_facts": ["Ann"]}
    )


@pytest.mark.parametrize(
    ("turns", "sentence"),
    [
        ("Who?", "column 'messages' must hold a list of messages, not text; write it as objects with role and content"),
        (None, "column 'messages' must hold a list of messages, not null"),
        ([], "column 'messages' holds no answer of the assistant; add one or remove the conversation"),
        ([USER], "column 'messages' holds no answer of the assistant"),
        ([USER, {**SAID, "weight": 0}], "every answer of the assistant in column 'messages' has weight 0; give one"),
        ([{"role": "system", "content": ""}, SAID], "message 2 of column 'messages' is the assistant's but follows"),
        ([SAID], "message 1 of column 'messages' is the assistant's but follows none of the user; put the user's"),
        ([USER, SAID, SAID], "message 3 of column 'messages' is the assistant's but follows none of the user"),
        (["Who?"], "message 1 of column 'messages' is text, not an object; write it as an object with role and"),
        (
            [USER, {"role": "tool", "content": "x"}],
            "message 2 of column 'messages' has the role 'tool', which is none of",
        ),
        ([{"from": "function", "value": "x"}], "has the role 'function', which is none of system, developer, user"),
        ([USER, {**SAID, "function_call": {"name": "f"}}], "message 2 of column 'messages' calls a tool, which cannot"),
        ([{"content": "x"}], "message 1 of column 'messages' has the role None"),
        ([{"role": ["user"], "content": "x"}], "message 1 of column 'messages' has the role ['user']"),
        (
            [USER, {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}],
            "message 2 of column 'messages' calls",
        ),
        (
            [{"role": "user", "content": [{"type": "image_url"}]}],
            "holds a part that is no text (image_url); remove the",
        ),
        ([{"role": "user", "content": ["x"]}], "message 1 of column 'messages' holds a part that is no text (text)"),
        ([{"role": "user", "content": " "}, SAID], "message 1 of column 'messages' is blank; fill it in or remove the"),
        ([{"role": "user", "content": None}], "message 1 of column 'messages' holds nothing"),
        ([{"role": "user", "content": 7}], "message 1 of column 'messages' must hold text, not a number; turn it into"),
    ],
)
def test_conversations_that_cannot_be_read(turns: object, sentence: str) -> None:
    said = refusal({"messages": [USER, SAID]}, {"messages": turns})
    assert said.startswith("mine.jsonl, line 2: ")
    assert sentence in said


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            {"prompt": [USER, SAID], "completion": [SAID]},
            "the last message of column 'prompt' is not the user's; end it",
        ),
        (
            {"prompt": [{"role": "system", "content": ""}], "completion": "x"},
            "the last message of column 'prompt' is not",
        ),
        ({"prompt": [USER], "completion": [SAID, USER]}, "column 'completion' must hold one message, the assistant's;"),
        ({"prompt": [USER], "completion": [USER]}, "column 'completion' must hold one message, the assistant's; give"),
        ({"prompt": [USER], "completion": []}, "column 'completion' must hold text, not a list; turn it into text"),
        (
            {"prompt": [SYSTEM.model_dump(), USER], "completion": "x", "system": "y"},
            "column 'system' and the first mess",
        ),
        ({"prompt": "Who?", "completion": "Ann.", "system": 3}, "column 'system' must hold text, not a number"),
        ({"instruction": "Who?", "input": ["x"], "output": "Ann."}, "column 'input' must hold text, not a list"),
        ({"question": "Who?", "answer": 1949}, "column 'answer' must hold text, not a number; turn it into text"),
        ({"question": "Who?", "answer": True}, "column 'answer' must hold text, not true or false"),
        ({"text": None}, "column 'text' holds nothing; fill it in or remove the row"),
        ({"text": " \n"}, "column 'text' is blank"),
    ],
)
def test_rows_that_cannot_be_read(row: dict[str, Any], sentence: str) -> None:
    assert f"mine.jsonl, line 1: {sentence}" in refusal(row)


def test_the_first_row_decides() -> None:
    assert refusal(PAIR_ROW, {"messages": [USER, SAID]}) == (
        "mine.jsonl, line 2: no column 'question'; add it (the row has: messages)"
    )
    assert "line 2: column 'messages' must hold a list" in refusal({"messages": [USER, SAID]}, PAIR_ROW)
