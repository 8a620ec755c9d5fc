from __future__ import annotations

import csv

import pytest

from efface.data.readers.csv_file import parse_csv
from efface.errors import EffaceError
from support.messages import assert_names


def test_fields_are_text_and_empty_ones_null() -> None:
    [row] = parse_csv("a.csv", " question,answer,key_fact,\n Who? ,1949,,0\n")
    assert dict(row.values) == {"question": " Who? ", "answer": "1949", "key_fact": None, "column 4": "0"}
    assert row.is_cells


def test_a_bar_is_no_delimiter_if_a_comma_is_one() -> None:
    [row] = parse_csv("a.csv", "question,answer|b|c\nWho?,Ann|x\n")
    assert dict(row.values) == {"question": "Who?", "answer|b|c": "Ann|x"}


@pytest.mark.parametrize(
    "content",
    ['question,"answer; short; long; more"\nWho?,Ann\n', 'question,"answer\tshort\tlong"\n"Who; or when?",Ann\n'],
)
def test_the_delimiter_splits_header_and_row_into_equally_many_fields(content: str) -> None:
    [row] = parse_csv("a.csv", content)
    assert next(iter(row.values)) == "question"
    assert list(row.values.values())[1] == "Ann"


def test_a_single_column_needs_no_quotes() -> None:
    rows = parse_csv("a.csv", 'text\nAnn, who wrote; and sang\n"Bob, too,\nor ""Rob"""\n')
    assert [row.values["text"] for row in rows] == ["Ann, who wrote; and sang", 'Bob, too,\nor "Rob"']
    assert [(row.unit, row.number) for row in rows] == [("line", 2), ("line", 3)]


def test_a_field_may_be_longer_than_the_limit_of_the_module() -> None:
    limit = csv.field_size_limit()
    [row] = parse_csv("a.csv", f"text\n{'x' * (limit + 1)}\n")
    assert len(row.text("text")) == limit + 1
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", ["a.csv is empty", "column names such as question,answer"]),
        ("question,answer\n\n", ["a.csv has column names (question, answer) and no rows", "write them"]),
        ("a,b\n1,2,3\n1,2\n1\n1,2,3\n", ["a.csv, line 2", "in double quotes", "2 more rows have a problem"]),
        ("question,answer\nWho?,Ann, Lee", ["a.csv, line 2: 3 field(s)", "header has 2", "','", "double quotes"]),
        ('question,answer\nWho?,"Ann\n\n', ["a.csv, line 2", "unexpected end of data", "close every quote"]),
        ('question,answer\n"Who"?,Ann', ["a.csv, line 2", "',' expected after '\"'", "close every quote"]),
        ("\na,a\n1,2", ["a.csv, line 2", "two columns are called 'a'", "rename one of them"]),
    ],
)
def test_errors(content: str, named: list[str]) -> None:
    with pytest.raises(EffaceError) as caught:
        parse_csv("a.csv", content)
    assert_names(str(caught.value), *named)
