"""What a run trains, on what, and how: everything that unlearning needs besides the loaded model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efface.objectives.terms import Objective
from efface.train.batches.micro_batches import TrainingExample
from efface.train.batches.schedule import Schedule
from efface.train.config import TrainConfig
from efface.train.watch import Watch


@dataclass(frozen=True)
class ReferenceModel:
    """The model that NPO, DPO and KL compare with."""

    folder: Path
    sha256: str
    name: str | None
    """As the user gave it in `reference`; None for the model before unlearning."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the manifest says about it."""
        return () if self.name is None else (f"compared with {self.name} (sha256 {self.sha256})",)


@dataclass(frozen=True)
class UnlearningPlan:
    """The training of one run."""

    model: str
    """Name or folder of the model that is trained, as given by the user: the one before unlearning, or the one that the
    adapter is for."""
    source: Path
    """Its folder on this machine."""
    adapter: Path | None
    """Folder of the adapter that is trained further; None for a new one, or where all weights are trained."""
    tokenizer: Any
    reference: ReferenceModel
    objective: Objective
    steps: Sequence[Sequence[TrainingExample]]
    """What each optimizer step trains on, in order."""
    schedule: Schedule
    last_step: int
    """After which training ends; before the end of the schedule with `train.stop_after`."""
    watch: Watch | None
    """What is measured at the end of each epoch, if anything."""
    config: TrainConfig
    """With the optimizer resolved."""
    seed: int
