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
def test_only_white_space_between_passages_is_lost(text: str, length: int) -> None:
    rest = text
    for part in split_passages(text, length):
        assert len(part) <= length
        assert part == part.strip() != ""
        assert rest.lstrip().startswith(part)
        rest = rest.lstrip().removeprefix(part)
    assert not rest.strip()


@given(TEXTS)
def test_question_and_answer_make_up_the_passage(text: str) -> None:
    for part in split_passages(text, 60):
        item = to_continuation(passage(part))
        if item is None:
            assert len(part) < 20
        else:
            assert item.question + item.answer == part
            assert item.question.strip()
            assert item.answer.strip()
            assert abs(len(item.question) - len(part) / 2) <= len(part) / 4 + 1


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
def test_texts_are_split_at_the_best_boundary(text: str, length: int, parts: list[str]) -> None:
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
def test_passages_are_split_at_white_space_near_the_middle(text: str, question: str, answer: str) -> None:
    item = to_continuation(passage(text))
    assert item is not None
    assert (item.question, item.answer) == (question, answer)
    assert (item.id, item.passage) == ("forget/0001", True)


def test_short_passages_are_not_scored() -> None:
    assert to_continuation(passage("Ann wrote the poem.")) is None
    assert to_continuation(passage("Ann wrote the poems.")) is not None
