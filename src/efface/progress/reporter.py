"""What a run tells whoever watches it; the library itself prints nothing."""

from __future__ import annotations

from typing import Protocol

from efface.train.loop import StepLog


class Reporter(Protocol):
    """Told of each stage as it starts, of progress within it, and of what deserves a warning."""

    def on_stage(self, text: str) -> None:
        """A stage starts, such as `unlearning with me+gd`."""
        ...

    def on_warning(self, text: str) -> None:
        """Something the user should know, in one sentence."""
        ...

    def on_step(self, log: StepLog) -> None:
        """An optimizer step is done."""
        ...

    def on_progress(self, what: str, done: int, total: int) -> None:
        """So many questions of an evaluation are done; `what` is the part, such as `outputs`."""
        ...


class SilentReporter:
    """Tells nobody."""

    def on_stage(self, text: str) -> None:
        """Say nothing."""

    def on_warning(self, text: str) -> None:
        """Say nothing."""

    def on_step(self, log: StepLog) -> None:
        """Say nothing."""

    def on_progress(self, what: str, done: int, total: int) -> None:
        """Say nothing."""


class OnceReporter:
    """Hands everything on, but each warning only the first time."""

    def __init__(self, reporter: Reporter) -> None:
        self.on_stage, self.on_step, self.on_progress = reporter.on_stage, reporter.on_step, reporter.on_progress
        self._warn, self._said = reporter.on_warning, set[str]()

    def on_warning(self, text: str) -> None:
        """Hand it on unless it was said before."""
        if text not in self._said:
            self._said.add(text)
            self._warn(text)
