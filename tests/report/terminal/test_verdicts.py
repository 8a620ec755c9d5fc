"""Verdicts in the terminal."""

from __future__ import annotations

from rich.console import Console

from efface.report.terminal.verdicts import print_verdicts
from efface.scores.verdict import judge_records, verdict
from support.reports import correct, records, wrong


def test_answers_and_sentences_of_each_method() -> None:
    before = judge_records(records(forget=(20, correct), retain=(20, correct)))
    good = verdict(before, judge_records(records(forget=(20, wrong), retain=(20, correct))))
    bad = verdict(before, judge_records(records(forget=(20, correct), retain=(20, wrong))))
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as captured:
        print_verdicts(console, {"me+gd": good, "ga": bad})
    text = " ".join(captured.get().split())
    assert "correct declined made up empty" in text
    assert "forget (20) before 100% 0% 0% 0% ME+GD 0% 0% 100% 0% GA 100% 0% 0% 0%" in text
    assert "ME+GD: It forgot: of 20 questions" in text
    assert "GA: It did not forget: of 20 questions" in text
    assert "It kept the rest" in text
    assert "It lost most of the rest" in text


def test_nothing_is_printed_without_verdicts() -> None:
    console = Console(width=80)
    with console.capture() as captured:
        print_verdicts(console, {})
    assert captured.get() == ""
