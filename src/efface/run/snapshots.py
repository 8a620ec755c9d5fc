"""The weights at the end of each epoch, on disk until they have been scored."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from efface.artifacts import written_beside
from efface.run.adapters import quantization, with_adapters
from efface.run.config import RunConfig
from efface.run.models import load_model, save_model, stored_dtype


class Snapshots:
    """What was trained, and nothing else: the source's own weights lie elsewhere.

    All weights are kept in the dtype that the model is saved in, adapters in float32.
    """

    def __init__(self, folder: Path, ends: dict[int, int], config: RunConfig, source: Path) -> None:
        """`ends`: step -> the epoch that ends there."""
        self.folder, self.ends, self._config, self._source = folder, ends, config, source
        self._dtype = stored_dtype(source) if config.train.lora is None else torch.float32

    def take(self, model: Any, step: int) -> None:
        """Write the weights where an epoch ends with this step. Raises `EffaceError` when the disk is full."""
        if step not in self.ends:
            return
        state = {
            name: parameter.detach().to("cpu", self._dtype).contiguous()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        with written_beside(self._path(self.ends[step])) as beside:
            save_file(state, beside)

    def rebuild(self, epoch: int, folder: Path, *, tokenizer: Any, device: torch.device) -> None:
        """Write the model of an epoch's end as an ordinary folder, as if training had ended there."""
        adapters = self._config.train.lora
        rounding = quantization(self._config.train, device)
        model = load_model(self._source, dtype=self._dtype, device=device, quantization=rounding)
        if adapters is not None:
            model = with_adapters(model, adapters, seed=self._config.seed)
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, value in load_file(self._path(epoch)).items():
                parameters[name].copy_(value)
        save_model(model, tokenizer, folder, source=self._source, name=self._config.model)

    def drop(self) -> None:
        """Remove them all."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:03d}.safetensors"
