"""What a run tells whoever watches it; the library itself prints nothing."""

from __future__ import annotations

from typing import Protocol

from efface.train.loop import StepLog


class Reporter(Protocol):
    """Told of each stage as it starts, of progress within it, and of what deserves a warning."""

    def stage(self, text: str) -> None:
        """A stage starts, such as `unlearning with me+gd`."""
        ...

    def warning(self, text: str) -> None:
        """Something the user should know, in one sentence."""
        ...

    def step(self, log: StepLog) -> None:
        """An optimizer step is done."""
        ...

    def scored(self, what: str, done: int, total: int) -> None:
        """So many questions of an evaluation are done; `what` is the part, such as `outputs`."""
        ...


class Silent:
    """Tells nobody."""

    def stage(self, text: str) -> None:
        """Say nothing."""

    def warning(self, text: str) -> None:
        """Say nothing."""

    def step(self, log: StepLog) -> None:
        """Say nothing."""

    def scored(self, what: str, done: int, total: int) -> None:
        """Say nothing."""


class Once:
    """Hands everything on, but each warning only the first time."""

    def __init__(self, reporter: Reporter) -> None:
        self.stage, self.step, self.scored = reporter.stage, reporter.step, reporter.scored
        self._warn, self._said = reporter.warning, set[str]()

    def warning(self, text: str) -> None:
        """Hand it on unless it was said before."""
        if text not in self._said:
            self._said.add(text)
            self._warn(text)
