"""The weights at the end of each epoch, on disk until they have been scored."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from efface import distributed
from efface.atomic import atomic_folder
from efface.errors import EffaceError
from efface.models.dtypes import stored_dtype
from efface.models.load import load_model
from efface.models.lora import add_adapters
from efface.models.quantization import quantization_config
from efface.models.save import save_model
from efface.models.save_sharded import write_trained
from efface.models.skeleton import Skeleton, load_skeleton
from efface.run.unlearning_plan import UnlearningPlan
from efface.tensor_file import TensorFile
from efface.train.parallel import ParallelModel

_WEIGHTS = "trained.safetensors"


class EpochSnapshots:
    """Snapshots of the trained weights alone; frozen weights are read from the source model.

    Full weights are stored in the dtype that the model is saved in, adapters in float32. There is no snapshot of the
    last epoch: its model is the one that training leaves.
    """

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
        self._plan = plan
        self._device = device
        self._dtype = stored_dtype(plan.source) if plan.config.lora is None else torch.float32

    def take(self, model: ParallelModel, step: int) -> None:
        """Write the weights if an epoch other than the last ends with this step.

        Args:
            model: The model that is trained.
            step: The optimizer step that is complete, counted from 1.

        Raises:
            EffaceError: The disk is full.
        """
        epoch = self.epoch_ends.get(step, self.last)
        if epoch == self.last:
            return
        tensors = model.trained_tensors()
        if distributed.is_main_process():
            self._write(tensors, model.model, self._path(epoch))
        else:
            deque(tensors, maxlen=0)  # each tensor is gathered from all processes
        distributed.barrier()

    def _write(self, tensors: Iterable[tuple[str, Tensor]], model: Any, folder: Path) -> None:
        trained = ((name, each) for name, each in model.named_parameters() if each.requires_grad)
        empty = {name: torch.empty(each.shape, dtype=self._dtype, device="meta") for name, each in trained}
        with atomic_folder(folder) as partial:
            partial.mkdir()
            with (partial / _WEIGHTS).open("wb") as opened:
                file = TensorFile(opened, empty, {"format": "pt"})
                for name, tensor in tensors:
                    file.write(name, tensor)

    def rebuild(self, epoch: int, folder: Path) -> None:
        """Write the model at an epoch's end as an ordinary model folder, as if training had ended there.

        Args:
            epoch: Counted from 1; not the last one.
            folder: The folder to write; an adapter goes beside it.

        Raises:
            EffaceError: The snapshot is missing, or the disk is full.
        """
        distributed.on_main_process(lambda: self._rebuild(epoch, folder))

    def _rebuild(self, epoch: int, folder: Path) -> None:
        stored = self._path(epoch) / _WEIGHTS
        if not stored.is_file():
            raise EffaceError(f"the weights of epoch {epoch} are not in {stored}; start over in another --out")
        plan = self._plan
        if plan.config.sharding != "none" and (skeleton := load_skeleton(plan.source, dtype=self._dtype)) is not None:
            self._rebuild_from_files(stored, skeleton, folder)
            return
        quantization = quantization_config(plan.config, self._device)
        model = load_model(plan.source, dtype=self._dtype, device=self._device, quantization=quantization)
        if plan.config.lora is not None:
            model = add_adapters(model, plan.config.lora, seed=plan.seed)
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, value in load_file(stored).items():
                parameters[name].copy_(value)
        save_model(model, plan.tokenizer, folder, source=plan.source, name=plan.model)

    def _rebuild_from_files(self, stored: Path, skeleton: Skeleton, folder: Path) -> None:
        """Rebuild a model that may be too large for the memory of one process."""
        plan, model = self._plan, skeleton.model
        if plan.config.lora is not None:
            model = add_adapters(model, plan.config.lora, seed=plan.seed)
        with safe_open(stored, framework="pt") as file:
            tensors = ((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118 - not a dict
            write_trained(tensors, model, skeleton, plan.tokenizer, folder, source=plan.source, name=plan.model)

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:03d}"
