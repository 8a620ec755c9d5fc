from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from efface.report.page.text_diff import text_diff


def test_differences_are_words() -> None:
    assert text_diff("She was born in Turku.", "She was  never\tin Turku.") == [
        (0, "She was"),
        (-1, "born"),
        (1, "never"),
        (0, "in Turku."),
    ]
    assert text_diff("a b", "a  b") == [(0, "a b")]
    assert text_diff("", "new") == [(1, "new")]
    assert text_diff("", " ") == []


def test_long_texts_are_compared_as_a_whole() -> None:
    one, other = "a " * 400, "a " * 399 + "b"
    assert [side for side, _ in text_diff(one, other)] == [-1, 1]
    assert [side for side, _ in text_diff(one, one)] == [0]


@given(some.text(), some.text())
def test_both_texts_can_be_restored(before: str, after: str) -> None:
    segments = text_diff(before, after)
    for text, side in ((before, -1), (after, 1)):
        restored = " ".join(words for of, words in segments if of in (0, side))
        assert restored.split() == text.split()
