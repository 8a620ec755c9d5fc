"""Collect findings: checks that pass, warnings, and errors that become problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from efface.errors import EffaceError
from efface.preflight.diagnosis import Finding, Level
from efface.progress.reporter import Reporter, SilentReporter

_T = TypeVar("_T")


class FindingsBuilder(SilentReporter):
    """The findings so far. As a reporter, it turns warnings into findings and forwards stages to another reporter."""

    def __init__(self, reporter: Reporter) -> None:
        self.findings: list[Finding] = []
        self._reporter = reporter

    @property
    def has_problem(self) -> bool:
        """Whether a finding stops the run."""
        return any(finding.level == "problem" for finding in self.findings)

    def add(self, level: Level, about: str, text: str) -> None:
        """Add a finding, unless there is an equal one: a measurement repeats checks.

        Args:
            level: How serious it is.
            about: What was checked, in a word or two.
            text: What was found and what to do.
        """
        finding = Finding(level=level, about=about, text=text)
        if finding not in self.findings:
            self.findings.append(finding)

    def attempt(self, about: str, action: Callable[[], _T]) -> _T | None:
        """Run an action, and turn an error that the user can fix into a problem.

        Args:
            about: What is checked, in a word or two.
            action: What to run.

        Returns:
            What `action` returns; None where it raised an `EffaceError`, `OSError` or `OutOfMemoryError`.
        """
        try:
            return action()
        except EffaceError as error:
            self.add("problem", about, str(error))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            reason = error.strerror or error
            self.add("problem", about, f"{where}{reason}; check the path, its permissions and the free disk space")
        except torch.OutOfMemoryError:
            self.add(
                "problem",
                about,
                "the GPU ran out of memory; lower evaluate.max_cache_tokens and train.max_tokens_per_forward, or train "
                "adapters (train.lora=true)",
            )
        return None

    def on_stage(self, text: str) -> None:
        """Forward a stage."""
        self._reporter.on_stage(text)

    def on_warning(self, text: str) -> None:
        """Add a warning."""
        self.add("warning", "run", text)
