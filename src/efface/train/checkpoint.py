"""Checkpoints that survive a kill at any moment: written beside, renamed when whole, the last one kept."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from efface.errors import EffaceError

_NAME = re.compile(r"step-(\d+)")
_TRAINABLE = "trainable.safetensors"


def latest(folder: Path) -> tuple[int, Path] | None:
    """Step and path of the newest whole checkpoint in `folder`."""
    found = [(int(match[1]), path) for path in folder.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return max(found, default=None)


def save(accelerator: Any, folder: Path, step: int) -> Path:
    """Write model, optimizer, schedule and random state of `step`; then drop the older checkpoints.

    Raises `EffaceError` when the disk is full; the older checkpoint then stays.
    """
    final = folder / f"step-{step:06d}"
    beside = folder / f".{final.name}.partial"
    with disk_errors(final):
        shutil.rmtree(beside, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            accelerator.save_state(str(beside))
            beside.replace(final)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    for path in folder.glob("step-*"):
        if path != final:
            shutil.rmtree(path)
    return final


def keep_trainable_only(accelerator: Any) -> None:
    """Let checkpoints hold the adapter alone: the base model of a LoRA run never changes."""

    def write(models: list[Any], weights: list[Any], folder: str) -> None:
        weights.clear()  # tells accelerate that the models are taken care of
        (model,) = models
        state = {name: p.detach().contiguous() for name, p in model.named_parameters() if p.requires_grad}
        save_file(state, Path(folder) / _TRAINABLE)

    def read(models: list[Any], folder: str) -> None:
        model = models.pop()
        parameters = dict(model.named_parameters())
        for name, value in load_file(Path(folder) / _TRAINABLE).items():
            parameters[name].data.copy_(value)

    accelerator.register_save_state_pre_hook(write)
    accelerator.register_load_state_pre_hook(read)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the ways in which torch, safetensors and the system say "cannot write" into one sentence."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        writes = isinstance(error, OSError | SafetensorError) or "writ" in str(error).lower()
        if not writes:
            raise
        free = shutil.disk_usage(path.parent if path.parent.exists() else Path.cwd()).free
        raise EffaceError(
            f"cannot write {path} ({free / 2**30:.1f} GiB free): {error}; free some space or choose another --out"
        ) from error
