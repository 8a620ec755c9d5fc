"""Answers side by side: of the same questions, safe with hostile text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from efface.artifacts import Record
from efface.report.terminal.answers import print_answers

HOSTILE = "\x1b[2J\x1b[31m[red]gone[/red] \\[/] \u202eRTL\nline two\n" + "word" * 25_000


@pytest.fixture(params=[80, 160])
def shown(request: pytest.FixtureRequest) -> Callable[..., str]:
    """Print answers in a terminal of 80 or 160 columns."""

    def show(*arguments: Any, **options: Any) -> str:
        console = Console(width=request.param, color_system=None, force_terminal=True)
        with console.capture() as captured:
            print_answers(console, *arguments, **options)
        text = captured.get()
        assert all(len(line) <= request.param for line in text.splitlines())
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", text)
        return text

    return show


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


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
