"""Answers side by side: of the same questions, safe with hostile text."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from efface.records import Record
from efface.report.terminal.answers import print_answers
from support.terminal import printed, rows

HOSTILE = "\x1b[2J\x1b[31m[red]gone[/red] \\[/] \u202eRTL\nline two\n" + "word" * 25_000


@pytest.fixture(params=[80, 160])
def shown(request: pytest.FixtureRequest) -> Callable[..., str]:
    """Print answers in a terminal of 80 or 160 columns."""
    return partial(printed, request.param, print_answers)


def record(question: str, output: str) -> Record:
    return Record(
        set="forget",
        id=f"id of {question[:10]}",
        question=question,
        answer="a",
        output=output,
        output_token_ids=[],
        answer_logprobs=[-1.0],
        paraphrased_logprobs=None,
        perturbed_logprobs=[],
        embedding_target="a",
        embedder=None,
        cosine_answer=None,
        cosine_before=None,
        entailment_target="a",
        entailment_premise="answer",
        judge=None,
        entailment_label=None,
    )


def test_answers_side_by_side(shown: Callable[..., str]) -> None:
    before = [record(f"Q{n}?", f"B{n}.") for n in range(9)]
    after = {name: [record(f"Q{n}?", f"{name[0]}{n}.") for n in range(9)] for name in ("me+gd", "idk+ap")}
    text = shown(before, after, title="Forget set")
    assert ["Q3?", "B3.", "ME+GD", "m3."] in rows(text)
    assert ["IDK+AP", "i3."] in rows(text)
    assert [line[0] for line in rows(text) if line[0].startswith("Q")] == ["Q0?", "Q3?", "Q6?"]


def test_answers_belong_to_their_question_whatever_their_order(shown: Callable[..., str]) -> None:
    before = [record(f"Q{n}?", f"B{n}.") for n in range(4)]
    after = [record(f"Q{n}?", f"A{n}.") for n in (2, 0, 1)]
    text = shown(before, {"me+gd": after}, title="Forget set", count=9)
    assert [line for line in rows(text) if line[0].startswith("Q")] == [
        [f"Q{n}?", f"B{n}.", "ME+GD", f"A{n}."] for n in range(3)
    ]


def test_hostile_and_empty_answers(shown: Callable[..., str]) -> None:
    before = [record(HOSTILE, HOSTILE), record("[bold]?", "")]
    text = shown(before, {"me+gd": before}, title="[red]Forget set")
    assert "[red]Forget set" in text
    assert "[bold]?" in text
    assert text.count("(nothing)") == 2
    assert "[/red]" in text
    assert len(text) < 10_000


def test_no_answers(shown: Callable[..., str]) -> None:
    assert "question" in shown([], {"me+gd": []}, title="Forget set")
