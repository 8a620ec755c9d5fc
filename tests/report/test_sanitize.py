from __future__ import annotations

import pytest

from efface.report.sanitize import one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain text, ünïcode 漢字 🙂", "plain text, ünïcode 漢字 🙂"),
        ("two\nlines\r\nand\ttabs", "two lines and tabs"),
        ("\x1b[2J\x1b[31mred\x1b[0m\x07", "[2J [31mred [0m"),
        ("\x9b31mred", "31mred"),
        ("a\u2028b\u2029c\x85d", "a b c d"),
        ("abc\u202edef\u200f\u2066g", "abcdefg"),
        ("half \ud83d", "half"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_harmless_line(text: str, line: str) -> None:
    assert one_line(text) == line


def test_long_text_is_cut() -> None:
    assert one_line("word" * 25_000, 10) == "wordwordw…"
    assert one_line("0123456789", 10) == "0123456789"
