"""Training inside a run's folder: metrics.jsonl and going on after a kill."""

from __future__ import annotations

from collections.abc import Sequence

from efface.objectives.terms import Reference
from efface.run.folder import RunFolder
from efface.run.reporter import Reporter
from efface.train import checkpoint
from efface.train.loop import StepLog, Trainer
from efface.train.step import Example


def train(
    trainer: Trainer,
    steps: Sequence[Sequence[Example]],
    reference: Reference,
    folder: RunFolder,
    *,
    resume: bool,
    reporter: Reporter,
) -> None:
    """Train, one line of metrics.jsonl a step; on `resume` the lines of steps trained again are dropped first."""
    found = checkpoint.latest(trainer.checkpoints) if resume else None
    folder.forget_steps_after(found[0] if found else 0)

    def on_step(log: StepLog) -> None:
        folder.append_step(log)
        reporter.step(log)

    trainer.run(steps, reference, resume=resume, on_step=on_step)
