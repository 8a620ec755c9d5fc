"""Checkpoints that survive a kill at any moment: written beside, renamed when whole, the last one kept."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from efface.errors import EffaceError

_NAME = re.compile(r"step-(\d+)")
_TRAINABLE = "trainable.safetensors"


def latest(folder: Path) -> tuple[int, Path] | None:
    """Step and path of the newest whole checkpoint in `folder`."""
    found = [(int(match[1]), path) for path in folder.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return max(found, default=None)


def save(accelerator: Any, folder: Path, step: int) -> Path:
    """Write model, optimizer, schedule and what else is registered of `step`; then drop the older checkpoints.

    Raises `EffaceError` when the disk is full; the older checkpoint then stays.
    """
    final = folder / f"step-{step:06d}"
    with folder_written_beside(final) as beside:
        accelerator.save_state(str(beside))
    for path in folder.glob("step-*"):
        if path != final:
            shutil.rmtree(path)
    return final


def load(accelerator: Any, path: Path) -> None:
    """Read what `save` wrote into the accelerator's model, optimizer and schedule.

    Raises `EffaceError` for a damaged checkpoint.
    """
    try:
        accelerator.load_state(str(path))
    except Exception as error:  # accelerate, safetensors and torch's unpickler each raise their own
        raise EffaceError(f"checkpoint {path} does not load ({first_line(error)}); remove it to start anew") from error


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
def folder_written_beside(folder: Path) -> Iterator[Path]:
    """Yield a path for a new folder beside `folder`; it takes the place of `folder` only when the block succeeds.

    Raises `EffaceError` where writing fails; nothing half-written stays.
    """
    beside = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(beside, ignore_errors=True)  # what a kill left behind
        folder.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        if folder.is_dir():
            shutil.rmtree(folder)  # a folder that is not empty cannot be renamed onto
        beside.replace(folder)
    except Exception as error:  # torch, safetensors and tokenizers each raise their own when the disk is full
        free = shutil.disk_usage(_existing(folder)).free / 2**30
        raise EffaceError(
            f"cannot write {folder} ({free:.1f} GiB free): {first_line(error)}; free some space or choose another --out"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def first_line(error: Exception) -> str:
    """An error's message without what follows its first line, such as a C++ backtrace."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _existing(path: Path) -> Path:
    """The nearest folder above `path` that is there."""
    return next(parent for parent in path.absolute().parents if parent.is_dir())
