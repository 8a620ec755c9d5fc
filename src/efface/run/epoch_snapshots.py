"""The weights at the end of each epoch, on disk until they have been scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from efface.atomic import atomic_folder
from efface.config.commands import RunConfig
from efface.distributed import on_main_process
from efface.errors import EffaceError
from efface.models.dtypes import stored_dtype
from efface.models.load import load_model
from efface.models.lora import add_adapters
from efface.models.quantization import quantization_config
from efface.models.save import save_model
from efface.train.parallel import ParallelModel

_WEIGHTS = "trained.safetensors"


class EpochSnapshots:
    """What was trained, and nothing else: the source's own weights lie elsewhere.

    All weights are kept in the dtype that the model is saved in, adapters in float32. Of the last epoch there are none:
    its model is the one that training leaves.
    """

    def __init__(self, folder: Path, ends: dict[int, int], config: RunConfig, source: Path) -> None:
        """`ends`: step -> the epoch that ends there."""
        self.folder, self.ends, self._config, self._source = folder, ends, config, source
        self.last = max(ends.values())
        self._dtype = stored_dtype(source) if config.train.lora is None else torch.float32

    def take(self, placement: ParallelModel, step: int) -> None:
        """Write the weights where an epoch ends with this step. Raises `EffaceError` when the disk is full."""
        epoch = self.ends.get(step, self.last)
        if epoch == self.last:
            return
        state = {name: value.to("cpu", self._dtype) for name, value in placement.trained_state_dict().items()}

        def write() -> None:
            with atomic_folder(self._path(epoch)) as beside:
                beside.mkdir()
                save_file(state, beside / _WEIGHTS)

        on_main_process(write)

    def rebuild(self, epoch: int, folder: Path, *, tokenizer: Any, device: torch.device) -> None:
        """Write the model of an epoch's end as an ordinary folder, as if training had ended there.

        Raises `EffaceError` where its weights were not kept.
        """
        on_main_process(lambda: self._rebuild(epoch, folder, tokenizer, device))

    def _rebuild(self, epoch: int, folder: Path, tokenizer: Any, device: torch.device) -> None:
        stored = self._path(epoch) / _WEIGHTS
        if not stored.is_file():
            raise EffaceError(f"the weights of epoch {epoch} are not in {stored}; start anew in another --out")
        adapters = self._config.train.lora
        rounding = quantization_config(self._config.train, device)
        model = load_model(self._source, dtype=self._dtype, device=device, quantization=rounding)
        if adapters is not None:
            model = add_adapters(model, adapters, seed=self._config.seed)
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, value in load_file(stored).items():
                parameters[name].copy_(value)
        save_model(model, tokenizer, folder, source=self._source, name=self._config.model)

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:03d}"
