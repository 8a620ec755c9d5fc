"""Untrusted text on the page."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as some

from efface.report.page.text_diff import clean, differences, in_script


def test_control_codes_become_visible() -> None:
    assert clean("a\x1b[31mb\x00\x7f\ud800\x9b") == "a␛[31mb␀���"
    assert clean("a\r\nb\rc") == "a\nb␍c"
    assert clean("two\nlines\tand ü שלום 👩‍👩‍👧") == "two\nlines\tand ü שלום 👩‍👩‍👧"


def test_differences_are_words() -> None:
    assert differences("She was born in Turku.", "She was  never\tin Turku.") == [
        (0, "She was"),
        (-1, "born"),
        (1, "never"),
        (0, "in Turku."),
    ]
    assert differences("a b", "a  b") == [(0, "a b")]
    assert differences("", "said") == [(1, "said")]
    assert differences("", " ") == []


def test_long_texts_are_compared_as_a_whole() -> None:
    one, other = "a " * 400, "a " * 399 + "b"
    assert [side for side, _ in differences(one, other)] == [-1, 1]
    assert [side for side, _ in differences(one, one)] == [0]


@given(some.text(), some.text())
def test_both_texts_can_be_read_from_the_differences(before: str, after: str) -> None:
    found = differences(before, after)
    for text, side in ((before, -1), (after, 1)):
        mine = " ".join(words for where, words in found if where in (0, side))
        assert mine.split() == text.split()


@given(some.text())
def test_json_in_a_script_is_the_same_and_no_markup(text: str) -> None:
    found = str(in_script([text, "</script><!--<script>\u2028\u2029&"]))
    assert not set("<>&\u2028\u2029") & set(found)
    assert json.loads(found) == [text, "</script><!--<script>\u2028\u2029&"]
