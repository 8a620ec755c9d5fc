"""The interface through which a run reports its progress; the library itself prints nothing."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from efface.train.step_log import StepLog


class Reporter(Protocol):
    """Receives each stage as it starts, the progress within it, and warnings."""

    def on_stage(self, text: str) -> None:
        """A stage starts.

        Args:
            text: What it does, such as `unlearning with me+gd`.
        """
        ...

    def on_warning(self, text: str) -> None:
        """Something the user should know.

        Args:
            text: One sentence.
        """
        ...

    def on_step(self, log: StepLog) -> None:
        """An optimizer step is done.

        Args:
            log: Its losses, tokens and seconds.
        """
        ...

    def on_progress(self, what: str, done: float, total: int) -> None:
        """A part of an evaluation has progressed.

        Args:
            what: The part, such as `outputs`.
            done: Questions that are done; one that is done in part counts for that part.
            total: Questions of this part.
        """
        ...


class SilentReporter:
    """A reporter that ignores everything."""

    def on_stage(self, text: str) -> None:
        """Ignore it."""

    def on_warning(self, text: str) -> None:
        """Ignore it."""

    def on_step(self, log: StepLog) -> None:
        """Ignore it."""

    def on_progress(self, what: str, done: float, total: int) -> None:
        """Ignore it."""


@runtime_checkable
class ShowsSeveral(Protocol):
    """A reporter that can show several runs at once."""

    def labeled(self, label: str) -> Reporter:
        """A reporter of one of the runs.

        Args:
            label: Before what it reports.
        """
        ...


class OnceReporter:
    """A reporter that forwards everything to another one, but each warning only the first time."""

    def __init__(self, reporter: Reporter, *, warnings: set[str] | None = None) -> None:
        self.on_stage, self.on_step, self.on_progress = reporter.on_stage, reporter.on_step, reporter.on_progress
        self._reporter, self._warnings = reporter, set[str]() if warnings is None else warnings

    def on_warning(self, text: str) -> None:
        """Forward a warning that is new."""
        if text not in self._warnings:
            self._warnings.add(text)
            self._reporter.on_warning(text)

    def labeled(self, label: str) -> OnceReporter:
        """A reporter of one of several runs at once; a warning of any of them is forwarded once.

        Args:
            label: Before what it reports, where the other reporter can show several runs.
        """
        part = self._reporter.labeled(label) if isinstance(self._reporter, ShowsSeveral) else self._reporter
        return OnceReporter(part, warnings=self._warnings)
