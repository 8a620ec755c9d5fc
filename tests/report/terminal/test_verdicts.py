"""Verdicts in the terminal."""

from __future__ import annotations

import pytest
from rich.console import Console

from efface.artifacts import Verdict
from efface.report.terminal.verdicts import print_verdicts
from efface.scores.verdict import judge_records, verdict
from support.reports import correct, records, wrong


def printed(verdicts: dict[str, Verdict]) -> list[str]:
    console = Console(width=80)
    with console.capture() as captured:
        print_verdicts(console, verdicts)
    return captured.get().splitlines()


@pytest.fixture
def verdicts() -> dict[str, Verdict]:
    before = judge_records(records(forget=(20, correct), retain=(20, correct)))
    good = verdict(before, judge_records(records(forget=(20, wrong), retain=(20, correct))))
    bad = verdict(before, judge_records(records(forget=(20, correct), retain=(20, wrong))))
    return {"me+gd": good, "ga": bad}


def test_several_methods_have_a_line_each(verdicts: dict[str, Verdict]) -> None:
    lines = printed(verdicts)
    text = " ".join(" ".join(lines).split())
    assert "correct declined made up empty" in text
    assert "forget (20) before 100% 0% 0% 0% ME+GD 0% 0% 100% 0% GA 100% 0% 0% 0%" in text
    assert lines[-2:] == [
        "ME+GD forgot: gives 0 of 20 answers to forget, still 20 of 20 others",
        "GA did not forget: gives 20 of 20 answers to forget, still 0 of 20 others",
    ]


def test_a_single_run_has_sentences(verdicts: dict[str, Verdict]) -> None:
    text = " ".join(" ".join(printed({"ga": verdicts["ga"]})).split())
    assert "GA: It did not forget: of 20 questions" in text
    assert "It lost most of the rest" in text


def test_words_that_decided_are_named_once(verdicts: dict[str, Verdict]) -> None:
    by_words = {
        name: each.model_copy(update={"forget": each.forget.model_copy(update={"by_words": 20})})  # type: ignore[union-attr]
        for name, each in verdicts.items()
    }
    assert " ".join(printed(by_words)).count("were judged by words alone") == 1
    assert not any("words alone" in line for line in printed(verdicts))


def test_nothing_is_printed_without_verdicts() -> None:
    assert printed({}) == []
