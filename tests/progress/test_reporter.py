"""Reporters: one that is silent, and one that repeats no warning."""

from __future__ import annotations

import pytest

from efface.progress.reporter import OnceReporter, Reporter, SilentReporter
from efface.train.step_log import StepLog

STEP = StepLog(step=1, steps=2, loss=1.0, forget=1.0, retain=1.0, grad_norm=1.0, lr=1e-5, tokens=1, seconds=1.0)


class Recorder:
    """Keeps everything, in order."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def on_stage(self, text: str) -> None:
        self.seen.append(("stage", text))

    def on_warning(self, text: str) -> None:
        self.seen.append(("warning", text))

    def on_step(self, log: StepLog) -> None:
        self.seen.append(log)

    def on_progress(self, what: str, done: float, total: int) -> None:
        self.seen.append((what, done, total))


def report(reporter: Reporter) -> None:
    reporter.on_stage("loading")
    reporter.on_warning("careful")
    reporter.on_step(STEP)
    reporter.on_progress("outputs", 1, 3)
    reporter.on_warning("careful")
    reporter.on_warning("very careful")
    reporter.on_stage("loading")


def test_each_warning_is_forwarded_once_and_everything_else_always() -> None:
    recorder = Recorder()
    report(OnceReporter(recorder))
    expected: list[object] = [("stage", "loading"), ("warning", "careful"), STEP, ("outputs", 1, 3)]
    assert recorder.seen == [*expected, ("warning", "very careful"), ("stage", "loading")]


def test_a_silent_reporter_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    report(SilentReporter())
    assert capsys.readouterr() == ("", "")


def test_reporters_of_several_runs_forward_a_warning_once() -> None:
    class Several(Recorder):
        def labeled(self, label: str) -> Several:
            part = Several()
            part.seen = self.seen
            part.seen.append(label)
            return part

    recorder, plain = Several(), Recorder()
    once, without_labels = OnceReporter(recorder), OnceReporter(plain)
    for part in (once.labeled("a:"), once, once.labeled("b:"), without_labels.labeled("c:")):
        part.on_warning("careful")
    assert recorder.seen == ["a:", "b:", ("warning", "careful")]
    assert plain.seen == [("warning", "careful")]
