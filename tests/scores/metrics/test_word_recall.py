from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efface.scores.metrics.rouge import rouge_l_recall
from efface.scores.metrics.word_recall import word_recall


@pytest.mark.parametrize(
    ("answer", "output", "expected"),
    [
        ("Ада родилась в Турку.", "Ада родилась в Турку.", 1),
        ("Ада родилась в Турку.", "АДА в Турку", 0.75),
        ("Ада родилась в Турку.", "Иван живёт у моря.", 0),
        ("Η Άδα γεννήθηκε στο Τούρκου.", "στο τούρκου", 0.4),
        ("وُلدت آدا في توركو", "ولدت آدا في توركو.", 1),
        ("एडा का जन्म तुर्कू में हुआ", "तुर्कू में", 2 / 6),
        ("她出生于图尔库", "图尔库。", 3 / 7),
        ("Zoë's cats", "Zoe and a cat", 2 / 3),
        ("Gabriel Garcia Marquez", "It is Gabriel García Márquez.", 1),
        ("Gabriel Garcia Marquez", "Gabriel Garciaón", 2 / 3),  # as ROUGE has it
        ("Ада родилась в 1903 году", "В 1903", 2 / 5),  # of ROUGE, which knows one word, all
        ("→", "It is →", 1),
        ("→", "", 0),
    ],
)
def test_recall_in_any_script(answer: str, output: str, expected: float) -> None:
    assert word_recall(answer, output) == pytest.approx(expected)


WORDS = st.lists(st.sampled_from(["Running", "runs", "a", "b", "the", "x1", "-", "it's"]), max_size=30).map(" ".join)
ASCII = st.text(string.ascii_letters + string.digits + " .'_", max_size=30)


@given(answer=st.one_of(WORDS, ASCII), output=st.one_of(WORDS, ASCII))
def test_in_ascii_it_is_rouge(answer: str, output: str) -> None:
    if any(each.isalnum() for each in answer):
        assert word_recall(answer, output) == rouge_l_recall(answer, output)
