"""Reporters that pass on what a run reports."""

from __future__ import annotations

from efface.progress.reporter import OnceReporter
from support.runs import Told


def test_a_repeated_warning_is_passed_on_once():
    told = Told()
    once = OnceReporter(told)
    for text in ("one", "two", "one"):
        once.on_warning(text)
        once.on_stage(text)
    assert (told.warnings, told.stages) == (["one", "two"], ["one", "two", "one"])
    assert (once.on_step, once.on_progress) == (told.on_step, told.on_progress)
