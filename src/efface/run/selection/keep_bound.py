"""`keep`: training ends where a share of the utility would be lost, or where the forget set is forgotten."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from efface import distributed
from efface.artifacts.tune import KeepResult
from efface.config.commands import RunConfig
from efface.data.config import MODEL_ANSWERS
from efface.errors import EffaceError
from efface.records import RecordSets
from efface.run.folder import RunFolder
from efface.run.preparation.prepare import PreparedRun
from efface.run.selection.held_out import hold_out
from efface.run.selection.quick_scores import QuickScores
from efface.run.selection.weight_snapshots import WeightSnapshots
from efface.schema import Task
from efface.train.batches.sampler import anchor_items
from efface.train.batches.schedule import epoch_ends
from efface.train.checkpoints import checkpoint
from efface.train.distribution.parallel import ParallelModel
from efface.train.step_log import KeepLog

_NO_MORE = 0.01
"""Rise of the forget efficacy between two looks below which nothing more is being forgotten."""
Reason = Literal["bound", "gone", "end"]


@dataclass(frozen=True)
class KeepBound:
    """Looks at a model in training, and says when to stop."""

    keep: float
    """Share of the utility that must be kept."""
    scores: QuickScores
    steps: Collection[int]
    """The steps after which to look, the last one among them."""
    snapshots: WeightSnapshots
    folder: RunFolder
    schedule_steps: int

    def start(self, model: ParallelModel) -> None:
        """Store the weights before the first step: what is left where no later state is within the bound."""
        self.snapshots.write(model, _name(0))

    def after_step(self, model: ParallelModel, step: int) -> bool:
        """Look at the model after a step, if it is due.

        Args:
            model: The model in training.
            step: Optimizer steps so far.

        Returns:
            Whether training should stop.

        Raises:
            EffaceError: The disk is full.
        """
        if step not in self.steps:
            return False
        kept, gone = self.scores.score(model)
        log = KeepLog(
            step=step,
            kept=kept.share,
            kept_at_least=kept.at_least,
            utility=kept.utility,
            forget_efficacy=kept.forget_efficacy,
            gone=gone,
        )
        if log.kept_at_least >= self.keep:
            self.snapshots.write(model, _name(step))
        self.folder.append_step(log)
        logs = self.folder.read_keep_logs()
        self._remove_unneeded(logs)
        return self._reason(logs) is not None

    def _remove_unneeded(self, logs: list[KeepLog]) -> None:
        """Remove the states before the one that a run resumed from the newest checkpoint may end with."""
        found = checkpoint.latest(self.folder.checkpoints)
        resumed_from = found[0] if found else 0
        needed = self._kept_step([each for each in logs if each.step <= resumed_from])
        for step in (0, *(each.step for each in logs)):
            if step < needed:
                self.snapshots.remove(_name(step))

    def _reason(self, logs: list[KeepLog]) -> Reason | None:
        """Why to stop after the last look; None to go on."""
        last = logs[-1]
        if last.kept_at_least < self.keep:
            return "bound"
        before = logs[-2].forget_efficacy if len(logs) > 1 else 0.0
        return "gone" if last.gone and last.forget_efficacy - before < _NO_MORE else None

    def save(self, model: Path) -> None:
        """Write the model of the last state within the bound.

        Args:
            model: The folder to write.
        """
        self.snapshots.rebuild(_name(self._kept_step(self.folder.read_keep_logs())), model)

    def result(self) -> KeepResult:
        """What happened, from the looks in metrics.jsonl."""
        logs = self.folder.read_keep_logs()
        step = self._kept_step(logs)
        log = next((each for each in logs if each.step == step), None)
        return KeepResult(
            keep=self.keep,
            step=step,
            stopped_after=logs[-1].step,
            steps=self.schedule_steps,
            reason=self._reason(logs) or "end",
            kept=log.kept if log else 1.0,
            kept_at_least=log.kept_at_least if log else 1.0,
        )

    def _kept_step(self, logs: list[KeepLog]) -> int:
        """The last step within the bound; 0 where there is none."""
        return max((each.step for each in logs if each.kept_at_least >= self.keep), default=0)


def keep_bound(config: RunConfig, prepared: PreparedRun, folder: RunFolder, before: RecordSets) -> KeepBound | None:
    """The bound of a run; None without `keep`.

    Args:
        config: The run's settings.
        prepared: What was read for it.
        folder: Its folder.
        before: Records of the model that is compared with: that before unlearning, of a queue the first one.

    Raises:
        EffaceError: A retain set has too few questions, or the model knows too few facts for the bound.
    """
    if config.keep is None:
        return None
    scores = QuickScores(
        hold_out(prepared.task.evaluation, config.evaluate.limit),
        before,
        formatter=prepared.formatter,
        config=config.evaluate,
        definition_name=config.definition,
        own_answers=config.data.retain == MODEL_ANSWERS,
    )
    scores.check(config.keep)
    plan, every = prepared.plan, config.evaluate.every
    steps = (
        {*range(every, plan.last_step, every), plan.last_step}
        if isinstance(every, int)
        else {*epoch_ends(len(anchor_items(prepared.task, config.train)), config.train)}
    )
    return KeepBound(
        keep=config.keep,
        scores=scores,
        steps=steps,
        snapshots=WeightSnapshots(folder.keep_snapshots, plan, prepared.device),
        folder=folder,
        schedule_steps=plan.schedule.steps,
    )


def check_keep(config: RunConfig, task: Task) -> None:
    """Check that `keep` can be measured.

    Args:
        config: The run's settings.
        task: Its data.

    Raises:
        EffaceError: A retain set has too few questions, or several processes.
    """
    if config.keep is None:
        return
    if distributed.launched_world_size() > 1:
        raise EffaceError("keep looks at the model in one process; leave keep out, or start one process")
    hold_out(task.evaluation, config.evaluate.limit)


def _name(step: int) -> str:
    return f"step-{step:06d}"
