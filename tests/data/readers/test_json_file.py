from __future__ import annotations

import json

import pytest

from efface.data.readers.json_file import detect_json_suffix, parse_json, parse_json_lines
from efface.errors import EffaceError
from support.messages import assert_names


def test_lines_end_only_at_a_line_feed() -> None:
    first, second = parse_json_lines("a.jsonl", '{"text": "a\u2028b"}\n\n{"text": "c"}\r\n')
    assert (first.values, first.number, first.unit) == ({"text": "a\u2028b"}, 1, "line")
    assert (second.values, second.number) == ({"text": "c"}, 3)


def test_columns_become_rows() -> None:
    columns = {"question": ["Who?", "When?"], "answer": ["Zoë", "In May"], "n": [None, 3]}
    rows = parse_json("a.json", json.dumps(columns, indent=1))
    assert [dict(row.values) for row in rows] == [
        {"question": "Who?", "answer": "Zoë", "n": None},
        {"question": "When?", "answer": "In May", "n": 3},
    ]


def test_an_object_that_contains_a_list_of_rows() -> None:
    [row] = parse_json("a.json", '{"version": "1.1", "tags": ["x"], "data": [{"text": "a"}]}')
    assert (dict(row.values), row.unit) == ({"text": "a"}, "row")


@pytest.mark.parametrize("column", ["messages", "Messages", "conversations"])
def test_a_single_conversation_is_a_row(column: str) -> None:
    chat = {column: [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ann"}], "tags": ["x"]}
    [row] = parse_json("a.json", json.dumps(chat, indent=1))
    assert dict(row.values) == chat


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ('{"a": 1}\n{"a": 2}', ".jsonl"),
        ('\n {"a": 1}', ".jsonl"),
        ('[\n{"a": 1}]', ".json"),
        ("[1] Ann Lee wrote it.", None),
        ("{Ann} wrote it.", None),
        ("Ann wrote {}.", None),
        ("", None),
    ],
)
def test_json_is_detected(text: str, suffix: str | None) -> None:
    assert detect_json_suffix(text) == suffix


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.jsonl", "", ["a.jsonl is empty", "one JSON object with a question and an answer per line"]),
        ("a.jsonl", "\n \n", ["a.jsonl is empty"]),
        ("a.jsonl", '{"question": "Who?"}\n{"question": ', ["a.jsonl, line 2", "not valid JSON (Expecting value)"]),
        ("a.jsonl", "[" * 100_000, ["a.jsonl, line 1", "not valid JSON"]),
        ("a.jsonl", "[]", ["a.jsonl, line 1", "a list, not a JSON object", "one object per line"]),
        ("a.jsonl", '"question"', ["a.jsonl, line 1", "text, not a JSON object"]),
        ("a.jsonl", '{"a": 1}\n{"a"}\n7\n', ["a.jsonl, line 2", "Expecting ':' delimiter", "one JSON object per line"]),
        ("a.jsonl", '{"a": 1}\n{"a"}\n7\n', ["1 more row has a problem"]),
        ("a.json", "", ["a.json is empty", "one JSON object"]),
        ("a.json", "[]", ["a.json is empty", "a list of objects"]),
        ("a.json", "[" * 100_000, ["a.json: not valid JSON", "a list of objects"]),
        ("a.json", '[\n{"a": 1},\n{"a" 2}]', ["a.json, line 3", "not valid JSON (Expecting ':' delimiter)"]),
        ("a.json", '{"a": 1}\n{"a" 2}', ["a.json, line 2", "Expecting ':' delimiter", "one JSON object per line"]),
        ("a.json", '[{"a": 1}, "b"]', ["a.json, row 2", "text, not a JSON object", "a list of objects"]),
        ("a.json", "7", ["a.json contains a number and no rows", "a list of objects"]),
        ("a.json", '{"x": [{}], "y": [{}]}', ["a.json contains several lists of rows (x, y)", "separate file"]),
        ("a.json", '{"q": ["x", "y"], "a": ["z"]}', ["a.json", "different lengths (q 2, a 1)", "equally long"]),
        ("a.json", '{"a": [], "b": []}', ["a.json is empty", "a list of objects"]),
    ],
)
def test_errors(name: str, content: str, named: list[str]) -> None:
    parse = parse_json_lines if name.endswith("l") else parse_json
    with pytest.raises(EffaceError) as caught:
        parse(name, content)
    assert_names(str(caught.value), *named)
