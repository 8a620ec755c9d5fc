from __future__ import annotations

from typing import Any

import pytest

from efface.data.readers.table import SourceRow, read_rows, type_name
from efface.errors import EffaceError
from support.messages import assert_names


def row(values: dict[str, Any], *, is_cells: bool = False) -> SourceRow:
    return SourceRow("mine.csv", 7, values, unit="line", is_cells=is_cells)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("a", 1),
        ("b.c", "whole name"),
        ("b.d", "inside"),
        ("list.1", "second"),
        ("list.1.x", None),
        ("list.2", None),
        ("list.-1", None),
        ("none", None),
        ("absent", None),
    ],
)
def test_a_dot_selects_inside_a_column(column: str, value: object) -> None:
    values = {
        "a": 1,
        "b.c": "whole name",
        "b": {"c": "hidden", "d": "inside"},
        "list": ["first", "second"],
        "none": None,
    }
    assert row(values).value(column) == value
    assert row(values).has(column) == (value is not None or column == "none")


def test_texts_keep_everything_except_windows_line_breaks() -> None:
    assert row({"a": " Who?\u2028\r\nZoë\n"}).text("a") == " Who?\u2028\nZoë\n"


def test_optional_texts() -> None:
    values = {"a": "x", "none": None, "blank": " \n"}
    assert [row(values).optional_text(column) for column in ("a", "none", "absent")] == ["x", None, None]
    assert [row(values).text_or_blank(column) for column in ("a", "none", "absent", "blank")] == ["x", "", "", ""]


@pytest.mark.parametrize(("value", "expected"), [("Bob.", ("Bob.",)), (["Bob."], ("Bob.",)), (None, ()), ([], ())])
def test_one_text_or_a_list(value: object, expected: tuple[str, ...]) -> None:
    assert row({"a": value}).texts("a") == expected


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('["Bob, or", "Cid \\"C\\""]', ("Bob, or", 'Cid "C"')),
        (' ["Bob"]', ("Bob",)),
        ("[]", ()),
        ("Bob; Cid", ("Bob; Cid",)),
        ("Bob [sic]", ("Bob [sic]",)),
        ("['Bob', \"Cid's\"]", ("Bob", "Cid's")),  # as pandas writes it
        ("[Redacted] went home", ("[Redacted] went home",)),
        ("[Bob]", ("[Bob]",)),
        ("[1989]", ("[1989]",)),
    ],
)
def test_a_csv_field_may_contain_a_list(cell: str, expected: tuple[str, ...]) -> None:
    assert row({"a": cell}, is_cells=True).texts("a") == expected


def test_a_text_of_another_format_is_not_parsed_as_a_list() -> None:
    assert row({"a": '["Bob"]'}).texts("a") == ('["Bob"]',)


@pytest.mark.parametrize("value", [3, "3", " 3"])
def test_integers(value: object) -> None:
    assert row({"a": value}).integer("a") == 3


@pytest.mark.parametrize(
    ("read", "value", "named"),
    [
        ("text", None, ["column 'a' is null or empty", "fill it in or remove the row"]),
        ("text", 1949, ["column 'a' must be text, not a number", "convert it"]),
        ("text", True, ["column 'a' must be text, not true or false"]),
        ("text", " \n", ["column 'a' is blank", "fill it in or remove the row"]),
        ("text", "\ud83d", ["column 'a'", "surrogate", "write the whole character"]),
        ("texts", ["x", ["b"]], ["column 'a' must be text, not a list"]),
        ("texts", '["Bob", 3]', ["column 'a' must be text, not a number"]),
        ("texts", "['Bob', 'Cid'", ["column 'a' starts like a list", '["one", "two"]']),
        ("texts", '["Bob"', ["column 'a' starts like a list", '["one", "two"]']),
        ("integer", "x", ["column 'a' must be an integer, not 'x'", "correct it"]),
        ("integer", None, ["column 'a' must be an integer, not None"]),
    ],
)
def test_errors_about_a_value(read: str, value: object, named: list[str]) -> None:
    with pytest.raises(EffaceError) as caught:
        getattr(row({"a": value}, is_cells=True), read)("a")
    assert_names(str(caught.value), *["mine.csv, line 7: ", *named])


@pytest.mark.parametrize(
    ("values", "column", "named"),
    [
        ({"question": "Who?"}, "answer", ["no column 'answer'", "add it (the row has: question)"]),
        ({"anwser": "Ann"}, "answer", ["no column 'answer'", "rename 'anwser' to 'answer'"]),
        ({}, "answer", ["add it (the row has: none)"]),
        (
            {"answers": {"text": []}},
            "answers.text.0",
            ["the list answers.text is empty", "remove the row or fill it in"],
        ),
        ({"answers": None}, "answers.text.0", ["no column 'answers.text.0'", "add it (the row has: answers)"]),
    ],
)
def test_errors_about_a_missing_column(values: dict[str, Any], column: str, named: list[str]) -> None:
    with pytest.raises(EffaceError) as caught:
        row(values).text(column)
    assert_names(str(caught.value), *["mine.csv, line 7: ", *named])


def test_unknown_columns() -> None:
    assert row({"question": "Who?", "topic": 1}).unknown_columns(["question", "answer"]) == ["topic"]
    with pytest.raises(EffaceError) as caught:
        row({"question": "Who?", "Anwser": "Ann"}).unknown_columns(["question", "answer"])
    assert_names(
        str(caught.value), *["mine.csv, line 7", "unknown column 'Anwser'", "rename it to 'answer' or remove it"]
    )


def test_all_errors_of_a_table_are_counted() -> None:
    rows = [row({"a": value}) for value in ("x", None, "y", 7, "")]
    assert read_rows(rows[:1], lambda each: each.text("a")) == ["x"]
    with pytest.raises(EffaceError, match=r"null or empty.* \(2 more rows have a problem\)$"):
        read_rows(rows, lambda each: each.text("a"))
    with pytest.raises(EffaceError, match=r"\(1 more row has a problem\)$"):
        read_rows(rows[:4], lambda each: each.text("a"))
    with pytest.raises(EffaceError, match=r"fill it in or remove the row$"):
        read_rows(rows[:3], lambda each: each.text("a"))


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "null"),
        (True, "true or false"),
        (1, "a number"),
        ("", "text"),
        ([], "a list"),
        ({}, "an object"),
        (b"", "a bytes"),
    ],
)
def test_type_names(value: object, name: str) -> None:
    assert type_name(value) == name
