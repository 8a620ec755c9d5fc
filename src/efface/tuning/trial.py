"""One trial: a training whose model is a candidate after every epoch."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch

from efface.artifacts.tune import TuneCandidate
from efface.config.commands import RunConfig
from efface.errors import EffaceError
from efface.files.atomic import WriteError
from efface.progress.reporter import Reporter
from efface.run.evaluation_stages import free_models
from efface.run.folder import RunFolder
from efface.run.selection.quick_scores import QuickScores
from efface.run.selection.weight_snapshots import WeightSnapshots
from efface.run.unlearning_plan import UnlearningPlan
from efface.run.unlearning_stage import train_plan
from efface.train.distribution.parallel import ParallelModel
from efface.tuning.study import StudyTrial

WEIGHTS = "best"
"""Name of the snapshot of a trial's best candidate."""
_HOPELESS = 0.5
"""Share of the bound below which a training is not continued."""


@dataclass
class TrialMonitor:
    """Scores the model after every epoch, stores the best one, and ends a training that the study gives up."""

    trial: StudyTrial
    scores: QuickScores
    snapshots: WeightSnapshots
    epoch_ends: Mapping[int, int]
    deadline: float
    """Of `time.monotonic()`."""
    tell: Callable[[str], None]
    candidates: list[TuneCandidate] = field(default_factory=list)
    ended: Literal["complete", "pruned", "stopped"] = "complete"
    """Why: by itself, given up by the study, or out of time."""

    def start(self, model: ParallelModel) -> None:
        """Nothing: the model before training is no candidate."""

    def after_step(self, model: ParallelModel, step: int) -> bool:
        """As `efface.run.training.Monitor`."""
        epoch = self.epoch_ends.get(step)
        if epoch is None:
            return False
        kept, _ = self.scores.score(model)
        candidate = TuneCandidate(
            epoch=epoch,
            step=step,
            kept=kept.share,
            kept_at_least=kept.at_least,
            utility=kept.utility,
            forget_efficacy=kept.forget_efficacy,
        )
        keep = self.trial.keep
        if all(candidate.score(keep) > each.score(keep) for each in self.candidates):
            self.snapshots.write(model, WEIGHTS)
        self.candidates.append(candidate)
        self.tell(
            f"epoch {epoch}: keeps {kept.share:.3f} (at least {candidate.promised:.3f}), forget efficacy "
            f"{kept.forget_efficacy:.3f}"
        )
        if self.trial.add(self.candidates) or kept.share < _HOPELESS * keep:
            self.ended = "pruned"
        elif time.monotonic() > self.deadline:
            self.ended = "stopped"
        return self.ended != "complete"


def run_trial(
    monitor: TrialMonitor, plan: UnlearningPlan, folder: RunFolder, *, device: torch.device, reporter: Reporter
) -> str:
    """Train, and score the model after every epoch.

    Args:
        monitor: Looks at the model.
        plan: What to train.
        folder: Of the trial.
        device: Where to train.
        reporter: Gets every step, and a warning where the training fails.

    Returns:
        How it ended: `complete`, `pruned`, `stopped` or `failed`.

    Raises:
        WriteError: The disk is full.
    """
    try:
        train_plan(plan, folder, device=device, resume=False, reporter=reporter, monitor=monitor)
    except WriteError:
        raise  # not a matter of the settings: with more space, they are tried again
    except EffaceError as error:
        reporter.on_warning(f"trial {monitor.trial.number} ended: {error}")
        return "failed"
    finally:
        free_models()
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
    return monitor.ended


def trial_config(config: RunConfig) -> RunConfig:
    """The settings of a trial's training: without checkpoints, as a trial that was killed is not resumed."""
    return config.model_copy(
        update={"train": config.train.model_copy(update={"save_minutes": 1e6, "save_steps": None})}
    )
