"""Show a run's progress: a bar in a terminal, plain lines in a log."""

from __future__ import annotations

import copy
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from efface.progress.verbosity import current_verbosity
from efface.report.sanitize import one_line

if TYPE_CHECKING:
    from efface.train.step_log import StepLog

_SECONDS_BETWEEN_LINES = 15
_VERBOSE_SECONDS = 2
_TRAINING = "step"


class ConsoleReporter:
    """A reporter that shows stages, losses, tokens/s and the time left. Use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._verbosity = current_verbosity()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            MofNCompleteColumn(),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),  # the width that the other columns leave
            TextColumn("{task.fields[detail]}", markup=False),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            transient=True,
            expand=True,
            disable=not console.is_terminal or self._verbosity != "normal",
            speed_estimate_period=3600,  # a step may take minutes, and an estimate needs two
        )
        self._task: Task | None = None
        self._label = ""
        self._warnings: set[str] = set()
        self._last_line = 0.0

    def __enter__(self) -> ConsoleReporter:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._drop_bar()
        self._progress.stop()

    def labeled(self, label: str) -> ConsoleReporter:
        """A reporter of one of several runs at once, with a bar of its own in the same terminal.

        Args:
            label: At the start of its lines and of its bar.
        """
        part = copy.copy(self)  # with the same console, bars and warnings
        part._label, part._task = f"{label} ", None
        return part

    def on_stage(self, text: str) -> None:
        """Print the stage; lines and bars below belong to it."""
        self._drop_bar()
        if self._verbosity != "quiet":
            self._line("•", "cyan", f"{self._label}{text}")

    def on_warning(self, text: str) -> None:
        """Print a warning, each once: several runs may have the same."""
        if text not in self._warnings:
            self._warnings.add(text)
            self._line("warning:", "yellow", text)

    def on_step(self, log: StepLog) -> None:
        """Show an optimizer step: the weighted total loss, the unweighted forget and retain losses, and tokens/s."""
        speed = f"{log.tokens / log.seconds:,.0f} tokens/s"
        losses = f"loss {log.loss:.3g} forget {log.forget:.3g} retain {log.retain:.3g}"
        task = self._update(_TRAINING, log.step, log.steps, f"{losses} {speed}")
        if task.finished:
            self._drop_bar()
        if self._verbosity == "verbose" or (task.finished and self._verbosity == "normal"):
            self._line(" ", "", _describe(task))

    def on_progress(self, what: str, done: float, total: int) -> None:
        """Show how many questions of an evaluation are done."""
        self._update(what, done, total, "questions")

    def _update(self, name: str, done: float, total: int, detail: str) -> Task:
        description = f"{self._label}{name}"
        if self._task is None or self._task.description != description:
            self._drop_bar()
            id_ = self._progress.add_task(description, total=total, detail=detail)
            self._task = self._progress.tasks[self._progress.task_ids.index(id_)]
        self._progress.update(self._task.id, completed=done, total=total, detail=detail)
        now = time.monotonic()
        waited = now - self._last_line > (_VERBOSE_SECONDS if self._verbosity == "verbose" else _SECONDS_BETWEEN_LINES)
        shows_lines = self._progress.disable and self._verbosity != "quiet"
        steps_have_lines = name == _TRAINING and self._verbosity == "verbose"
        if shows_lines and waited and not self._task.finished and not steps_have_lines:
            seconds = self._task.time_remaining
            left = "" if seconds is None else f", {timedelta(seconds=round(seconds))} left"
            self._line(" ", "", f"{_describe(self._task)}{left}")
        return self._task

    def _line(self, mark: str, style: str, text: str) -> None:
        """Print one line without wrapping it, so that logs can be searched line by line."""
        self._console.print(Text.assemble((mark, style), " ", one_line(text)), soft_wrap=True)
        self._last_line = time.monotonic()

    def _drop_bar(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task.id)
            self._task = None


def _describe(task: Task) -> str:
    return f"{task.description} {task.completed:.0f}/{task.total:.0f} {task.fields['detail']}"
