"""The trained weights at some step, on disk: less than a model's folder, from which they make one again."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from efface import distributed
from efface.errors import EffaceError
from efface.files.atomic import atomic_folder
from efface.files.tensor_file import TensorFile
from efface.main_process import on_main_process
from efface.models.dtypes import stored_dtype
from efface.models.load import load_model
from efface.models.lora import add_adapters
from efface.models.quantization import quantization_config
from efface.models.save import save_model
from efface.models.save_sharded import write_trained
from efface.models.skeleton import Skeleton, load_skeleton
from efface.run.unlearning_plan import UnlearningPlan
from efface.train.distribution.parallel import ParallelModel

_WEIGHTS = "trained.safetensors"


class WeightSnapshots:
    """Snapshots of the trained weights alone; frozen weights are read from the source model.

    Full weights are stored in the dtype that the model is saved in, adapters in float32.
    """

    def __init__(self, folder: Path, plan: UnlearningPlan, device: torch.device) -> None:
        """Write snapshots to `folder`.

        Args:
            folder: Of all snapshots; made with the first one.
            plan: What is trained.
            device: Where models are rebuilt.
        """
        self.folder = folder
        self._plan = plan
        self._device = device
        self._dtype = stored_dtype(plan.source) if plan.config.lora is None else torch.float32

    def write(self, model: ParallelModel, name: str) -> None:
        """Write the weights of a model in training; every process must call this.

        Args:
            model: The model.
            name: Of the snapshot's folder.

        Raises:
            EffaceError: The disk is full.
        """
        tensors = model.trained_tensors()
        if distributed.is_main_process():
            self._write(tensors, model.meta_model, self.folder / name)
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

    def has(self, name: str) -> bool:
        """Whether there is a snapshot of this name."""
        return (self.folder / name / _WEIGHTS).is_file()

    def remove(self, name: str) -> None:
        """Remove a snapshot, if there is one."""
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def rebuild(self, name: str, folder: Path) -> None:
        """Write the model of a snapshot as an ordinary model folder, as if training had ended there.

        Args:
            name: Of the snapshot's folder.
            folder: The folder to write; an adapter goes beside it.

        Raises:
            EffaceError: The snapshot is missing, or the disk is full.
        """
        on_main_process(lambda: self._rebuild(name, folder))

    def _rebuild(self, name: str, folder: Path) -> None:
        stored = self.folder / name / _WEIGHTS
        if not stored.is_file():
            raise EffaceError(f"the weights of {name} are not in {stored}; start over in another --out")
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
            for key, value in load_file(stored).items():
                parameters[key].copy_(value)
        save_model(model, plan.tokenizer, folder, source=plan.source, name=plan.model)

    def _rebuild_from_files(self, stored: Path, skeleton: Skeleton, folder: Path) -> None:
        """Rebuild a model that may be too large for the memory of one process."""
        plan, model = self._plan, skeleton.model
        if plan.config.lora is not None:
            model = add_adapters(model, plan.config.lora, seed=plan.seed)
        with safe_open(stored, framework="pt") as file:
            tensors = ((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118 - not a dict
            write_trained(tensors, model, skeleton, plan.tokenizer, folder, source=plan.source, name=plan.model)
