"""What a run shows: a bar in a terminal, lines in a log."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from efface.progress import console as module
from efface.progress.console import ConsoleReporter
from efface.train.step_log import StepLog

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def step(number: int, steps: int = 4) -> StepLog:
    return StepLog(
        step=number,
        steps=steps,
        loss=1.2345,
        forget=12.345,
        retain=0.0123,
        grad_norm=1.0,
        lr=1e-5,
        tokens=12_345,
        seconds=0.5,
    )


def told(*, terminal: bool, width: int = 80, steps: int = 4, done: int = 4) -> list[str]:
    """The lines of a run; in a terminal all states of the bar, without colors."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=width, _environ={"TERM": "xterm"})
    with ConsoleReporter(console) as reporter:
        reporter.on_stage("unlearning with me+gd")
        for number in range(1, done + 1):
            reporter.on_step(step(number, steps))
            reporter._progress.refresh()
        reporter.on_stage("evaluating after unlearning")
        for part, part_done in (("likelihoods", 0), ("likelihoods", 557), ("outputs", 100), ("outputs", 557)):
            reporter.on_progress(part, part_done, 557)
            reporter._progress.refresh()
        reporter.on_warning("\x1b[2J[red]odd[/red]\nname " + "x" * 100)
    return [line.rstrip() for line in re.split(r"[\r\n]+", CONTROL.sub("", file.getvalue())) if line.strip()]


def test_log_has_a_line_for_each_stage_and_the_last_step() -> None:
    assert told(terminal=False) == [
        "• unlearning with me+gd",
        "  step 4/4 loss 1.23 forget 12.3 retain 0.0123 24,690 tokens/s",
        "• evaluating after unlearning",
        "warning: [2J[red]odd[/red] name " + "x" * 100,
    ]


def test_log_goes_on_while_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", -1)
    lines = told(terminal=False, done=3)
    assert lines[1] == "  step 1/4 loss 1.23 forget 12.3 retain 0.0123 24,690 tokens/s"
    assert re.fullmatch(r"  step 3/4 loss .* tokens/s, 0:00:0\d left", lines[3])
    assert any(re.fullmatch(r"  outputs 100/557 questions", line) for line in lines)


@pytest.mark.parametrize("width", [80, 120])
def test_bar_shows_losses_speed_and_time_left(width: int) -> None:
    lines = told(terminal=True, width=width, steps=400)
    bars = [line for line in lines if "step " in line and "━" in line]
    assert all(len(line) <= width for line in bars)
    assert any(
        re.fullmatch(r"step +3/400 ━+ loss 1\.23 forget 12\.3 retain 0\.0123 24,690 tokens/s \d\d:\d\d left", line)
        for line in bars
    ), bars
    assert any(re.match(r"outputs 100/557 .* questions .* left", line) for line in lines)


def test_terminal_keeps_the_last_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", -1)
    lines = told(terminal=True)
    kept = [line for line in lines if line.startswith("  ")]
    assert kept == ["  step 4/4 loss 1.23 forget 12.3 retain 0.0123 24,690 tokens/s"]
    assert any(line.startswith("warning: [2J[red]odd[/red] name") for line in lines)


def test_runs_at_once_have_labels_and_bars_of_their_own() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=100, _environ={"TERM": "xterm"})
    with ConsoleReporter(console) as reporter:
        first, second = reporter.labeled("me+gd:"), reporter.labeled("ga+gd:")
        first.on_stage("unlearning")
        for number in (1, 2):
            first.on_step(step(number))
            second.on_step(step(number))
        reporter._progress.refresh()
        for part in (first, second):
            part.on_warning("odd")
    text = CONTROL.sub("", file.getvalue())
    assert "• me+gd: unlearning" in text
    assert re.search(r"me\+gd: step 2/4 .*\n.*ga\+gd: step 2/4 ", text), "one bar below the other"
    assert text.count("warning: odd") == 1
