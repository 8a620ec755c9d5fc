"""The weights at the end of each epoch, on disk until they have been scored."""

from __future__ import annotations

from pathlib import Path

import torch

from efface.run.selection.weight_snapshots import WeightSnapshots
from efface.run.unlearning_plan import UnlearningPlan
from efface.train.distribution.parallel import ParallelModel


class EpochSnapshots:
    """A snapshot of each epoch but the last, whose model is the one that training leaves."""

    def __init__(self, folder: Path, plan: UnlearningPlan, epoch_ends: dict[int, int], device: torch.device) -> None:
        """Write snapshots to `folder`.

        Args:
            folder: Of all snapshots of a run; made with the first one.
            plan: What is trained.
            epoch_ends: Optimizer step -> the epoch that ends with it, both counted from 1.
            device: Where models are rebuilt.
        """
        self.folder = folder
        self.epoch_ends = epoch_ends
        self.last = max(epoch_ends.values())
        self._snapshots = WeightSnapshots(folder, plan, device)

    def take(self, model: ParallelModel, step: int) -> None:
        """Write the weights if an epoch other than the last ends with this step.

        Args:
            model: The model that is trained.
            step: The optimizer step that is complete, counted from 1.

        Raises:
            EffaceError: The disk is full.
        """
        epoch = self.epoch_ends.get(step, self.last)
        if epoch != self.last:
            self._snapshots.write(model, _name(epoch))

    def rebuild(self, epoch: int, folder: Path) -> None:
        """Write the model at an epoch's end as an ordinary model folder, as if training had ended there.

        Args:
            epoch: Counted from 1; not the last one.
            folder: The folder to write; an adapter goes beside it.

        Raises:
            EffaceError: The snapshot is missing, or the disk is full.
        """
        self._snapshots.rebuild(_name(epoch), folder)


def _name(epoch: int) -> str:
    return f"epoch-{epoch:03d}"
