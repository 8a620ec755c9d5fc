"""A run in the terminal: progress bars where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from efface.train.loop import StepLog

_SECONDS_BETWEEN_LINES = 15


class ConsoleReporter:
    """Shows stages, loss terms, tokens/s and time left. Use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._bar: TaskID | None = None
        self._last_line = 0.0

    def __enter__(self) -> ConsoleReporter:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def stage(self, text: str) -> None:
        """Start a new bar under a line of text."""
        self._drop_bar()
        self._console.print(f"[cyan]•[/] {text}", highlight=False)
        self._last_line = time.monotonic()

    def warning(self, text: str) -> None:
        """Print a warning."""
        self._console.print("[yellow]warning:[/]", text, highlight=False, markup=True)

    def step(self, log: StepLog) -> None:
        """Show losses and speed of an optimizer step."""
        detail = (
            f"loss {log.loss:.3f} (forget {log.forget:.3f}, retain {log.retain:.3f}), "
            f"{log.tokens / log.seconds:,.0f} tokens/s"
        )
        self._show("training", log.step, log.steps, detail)

    def scored(self, what: str, done: int, total: int) -> None:
        """Show how far an evaluation is."""
        self._show(what, done, total, "questions")

    def _show(self, name: str, done: int, total: int, detail: str) -> None:
        if self._progress.disable:
            self._plain_line(name, done, total, detail)
            return
        if self._bar is None or self._progress.tasks[-1].description != name:
            self._drop_bar()
            self._bar = self._progress.add_task(name, total=total, detail=detail)
        self._progress.update(self._bar, completed=done, total=total, detail=detail)

    def _plain_line(self, name: str, done: int, total: int, detail: str) -> None:
        """A line now and then, and at the end: a log, not a bar."""
        now = time.monotonic()
        if done == total or now - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._console.print(f"  {name} {done}/{total} {detail}", highlight=False, markup=False)

    def _drop_bar(self) -> None:
        if self._bar is not None:
            self._progress.remove_task(self._bar)
            self._bar = None
