"""What a sweep reported and wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from efface.artifacts import METRICS, Metric, Partial, Results, Scores, SetScores
from efface.sweep.spec import SweepSpec
from efface.sweep.table import SweepModel
from support.runs import Told

Spec = Callable[..., SweepSpec]
"""Reads a spec from its content and key=value pairs."""


class KilledIn(Told):
    """Interrupts a job at a step, like a kill of the process."""

    def __init__(self, job: str, step: int) -> None:
        """Interrupt the job whose message contains `job` at this optimizer step."""
        super().__init__()
        self.job, self.step = job, step

    def on_step(self, log: Any) -> None:
        """Raise at that step."""
        jobs = [text for text in self.stages if text.startswith(("run ", "making ", "request "))]
        if jobs and self.job in jobs[-1] and log.step == self.step:
            raise KeyboardInterrupt


def started_runs(reporter: Told) -> list[str]:
    """The combinations of the runs that were started."""
    return [text.partition(": ")[2] for text in reporter.stages if text.startswith("run ")]


def count_trainings(reporter: Told) -> int:
    """How many trainings were started."""
    return sum(text.startswith(("unlearning with", "fine-tuning on")) for text in reporter.stages)


def read_log(out: Path) -> list[dict[str, Any]]:
    """The lines of runs.jsonl."""
    return [json.loads(line) for line in (out / "runs.jsonl").read_text().splitlines()]


def read_results(folder: Path) -> Results:
    """The results of a run."""
    return Results.model_validate_json((folder / "results.json").read_bytes())


def scores(value: float | None, *, partial: float = 0.5, metrics: tuple[Metric, ...] = ("rouge",)) -> Scores:
    """Scores whose aggregates are `value`, and whose partial aggregates are `partial`."""
    aggregates = {"model_utility": value, "model_utility_retain": value, "forget_efficacy": value}
    below = dict.fromkeys(aggregates, partial)
    sets = {"forget": SetScores(n=3, **dict.fromkeys(METRICS, value))}
    return Scores(
        **aggregates, partial=Partial(**below, metrics=list(metrics)), missing={}, embedder=None, judge=None, sets=sets
    )


def scored(value: float | None = 0.5, group: str = "g", *, error: str | None = None, **values: Any) -> SweepModel:
    """A run of the grid with these values, or a failed one."""
    return SweepModel(group, "paper", values, None if error else scores(value), error)
