"""Tables for papers and spreadsheets, of text that may hold anything."""

from __future__ import annotations

import csv
import io

import pytest

from efface.report.export import flat_table

ROWS = [["=HYPERLINK(1)", 0.123456, None], ["a|b_c & 50% \x1b[2J\nnext", 2, "-1"]]


def test_csv_is_read_back_and_computes_nothing() -> None:
    text = flat_table("csv", ["name", "score", "more"], ROWS)
    assert list(csv.reader(io.StringIO(text))) == [
        ["name", "score", "more"],
        ["'=HYPERLINK(1)", "0.123456", ""],
        ["a|b_c & 50% [2J next", "2", "'-1"],
    ]
    assert "-0.5" in flat_table("csv", ["change"], [[-0.5]]).splitlines()  # a number is no formula


@pytest.mark.parametrize("start", "=+-@")
def test_csv_quotes_every_start_of_a_formula(start: str) -> None:
    assert flat_table("csv", ["a"], [[f"\x07 {start}1"]]).splitlines()[1] == f"'{start}1"


def test_markdown() -> None:
    assert flat_table("markdown", ["name", "score", "more"], ROWS) == (
        "| name | score | more |\n"
        "| --- | --- | --- |\n"
        "| =HYPERLINK(1) | 0.123 | - |\n"
        "| a\\|b\\_c \\& 50% \\[2J next | 2 | -1 |\n"
    )
    assert "\\<script\\>" in flat_table("markdown", ["a"], [["<script>"]])


def test_latex() -> None:
    assert flat_table("latex", ["name", "score", "more"], ROWS).splitlines()[2:6] == [
        r"name & score & more \\",
        r"\midrule",
        r"=HYPERLINK(1) & 0.123 & - \\",
        r"a\textbar{}b\_c \& 50\% [2J next & 2 & -1 \\",
    ]
    assert r"\textbackslash{}input\{x\}" in flat_table("latex", ["a"], [[r"\input{x}"]])


def test_headings_are_text_too() -> None:
    assert flat_table("latex", ["a_b"], []).splitlines()[2] == r"a\_b \\"
    assert flat_table("markdown", ["a|b"], []).splitlines()[0] == r"| a\|b |"
    assert flat_table("csv", ["=a"], []) == "'=a\n"
