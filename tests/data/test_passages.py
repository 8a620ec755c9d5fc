"""Cutting running text: where, and that nothing gets lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efface.data.passages import split_passages, to_continuation
from efface.schema import Item

TEXTS = st.text(st.sampled_from("ab.!?\"' \n\t\u3000。」é🙂") | st.characters(codec="utf-8"), max_size=200)


def passage(text: str) -> Item:
    return Item(id="forget/0001", question="", answer=text, passage=True)


@given(TEXTS, st.integers(min_value=20, max_value=60))
def test_nothing_is_lost_but_white_space_at_the_borders(text: str, length: int) -> None:
    rest = text
    for part in split_passages(text, length):
        assert len(part) <= length
        assert part == part.strip() != ""
        assert rest.lstrip().startswith(part)
        rest = rest.lstrip().removeprefix(part)
    assert not rest.strip()


@given(TEXTS)
def test_a_passage_and_its_continuation_are_the_same_text(text: str) -> None:
    for part in split_passages(text, 60):
        asked = to_continuation(passage(part))
        if asked is None:
            assert len(part) < 20
        else:
            assert asked.question + asked.answer == part
            assert asked.question.strip()
            assert asked.answer.strip()
            assert abs(len(asked.question) - len(part) / 2) <= len(part) / 4 + 1


@pytest.mark.parametrize(
    ("text", "length", "parts"),
    [
        ("A short text.", 20, ["A short text."]),
        ("  \n ", 20, []),
        (
            "One paragraph here. Yes.\n \nAnother one there. No.",
            30,
            ["One paragraph here. Yes.", "Another one there. No."],
        ),
        (
            "One sentence is here. Another one is there, too.",
            30,
            ["One sentence is here.", "Another one is there, too."],
        ),
        ('She asked "Who is it?" and nobody knew it.', 30, ['She asked "Who is it?"', "and nobody knew it."]),
        ("Version 1.25 has no end before that", 20, ["Version 1.25 has no", "end before that"]),
        ("Title\n\nThe paragraph is much longer than that", 30, ["Title\n\nThe paragraph is much", "longer than that"]),
        ("a " + "b" * 30, 20, ["a", "b" * 20, "b" * 10]),
        ("彼女は詩人だった。海について書いた。", 12, ["彼女は詩人だった。", "海について書いた。"]),
        ("彼女は詩人だった海について", 10, ["彼女は詩人だった海に", "ついて"]),
        ("x" * 10 + "。" + "y" * 3, 10, ["x" * 10, "。yyy"]),
        ("x" * 10 + " " + "y" * 9, 10, ["x" * 10, "y" * 9]),
    ],
)
def test_a_text_is_cut_at_the_best_border(text: str, length: int, parts: list[str]) -> None:
    assert list(split_passages(text, length)) == parts


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ("Ann Lee wrote about the sea.", "Ann Lee wrote", " about the sea."),
        ("Ann Lee has written.\n\nShe is in Turku.", "Ann Lee has written.", "\n\nShe is in Turku."),
        ("x" * 20, "x" * 10, "x" * 10),
        ("I " + "x" * 18, "I " + "x" * 8, "x" * 10),
    ],
)
def test_a_passage_is_halved_at_white_space_near_its_middle(text: str, question: str, answer: str) -> None:
    asked = to_continuation(passage(text))
    assert asked is not None
    assert (asked.question, asked.answer) == (question, answer)
    assert (asked.id, asked.passage) == ("forget/0001", True)


def test_a_short_passage_is_not_asked_for() -> None:
    assert to_continuation(passage("Ann wrote the poem.")) is None
    assert to_continuation(passage("Ann wrote the poems.")) is not None
