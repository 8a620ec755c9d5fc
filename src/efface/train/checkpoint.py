"""Checkpoints that survive a kill at any moment: written beside, renamed when whole, the last one kept."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efface import processes
from efface.errors import EffaceError

if TYPE_CHECKING:
    from efface.train.placement import Placement

_NAME = re.compile(r"step-(\d+)")


def latest(folder: Path) -> tuple[int, Path] | None:
    """Step and path of the newest whole checkpoint in `folder`."""
    found = [(int(match[1]), path) for path in folder.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return max(found, default=None)


def save(accelerator: Any, placement: Placement, folder: Path, step: int) -> Path:
    """Write what is trained, its optimizer, the schedule and what else is registered; then drop the older checkpoints.

    What is not trained, such as the base of adapters, never changes and is left out. Raises `EffaceError` when the disk
    is full; the older checkpoint then stays.
    """
    final = folder / f"step-{step:06d}"
    with folder_written_beside(final, by_all=True) as beside:
        accelerator.save_state(str(beside))
        placement.save(beside)
    if processes.is_first():
        for path in folder.glob("step-*"):
            if path != final:
                shutil.rmtree(path)
    return final


def load(accelerator: Any, placement: Placement, path: Path) -> None:
    """Read what `save` wrote into the placement's model and optimizer and the accelerator's schedule.

    The number of processes may be another one. Raises `EffaceError` for a damaged checkpoint.
    """
    try:
        accelerator.load_state(str(path))
        placement.load(path)
    except Exception as error:  # accelerate, safetensors and torch's unpickler each raise their own
        raise EffaceError(f"checkpoint {path} does not load ({first_line(error)}); remove it to start anew") from error


@contextmanager
def folder_written_beside(folder: Path, *, by_all: bool = False) -> Iterator[Path]:
    """Yield a path for a new folder beside `folder`; it takes the place of `folder` only when the block succeeds.

    Of several processes, one writes it, inside `processes.by_first`; or all of them do, `by_all`. Raises `EffaceError`
    where writing fails; nothing half-written stays.
    """
    beside = folder.with_name(f".{folder.name}.partial")
    acts = not by_all or processes.is_first()
    try:
        if acts:
            shutil.rmtree(beside, ignore_errors=True)  # what a kill left behind
            folder.parent.mkdir(parents=True, exist_ok=True)
        if by_all:
            processes.barrier()
        yield beside
        if by_all:
            processes.barrier()
        if acts:
            if folder.is_dir():
                shutil.rmtree(folder)  # a folder that is not empty cannot be renamed onto
            beside.replace(folder)
    except processes.ProcessError:
        raise
    except Exception as error:  # torch, safetensors and tokenizers each raise their own when the disk is full
        free = shutil.disk_usage(_existing(folder)).free / 2**30
        raise EffaceError(
            f"cannot write {folder} ({free:.1f} GiB free): {first_line(error)}; free some space or choose another --out"
        ) from error
    finally:
        if acts:
            shutil.rmtree(beside, ignore_errors=True)
    if by_all:
        processes.barrier()


def first_line(error: Exception) -> str:
    """An error's message without what follows its first line, such as a C++ backtrace."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _existing(path: Path) -> Path:
    """The nearest folder above `path` that is there."""
    return next(parent for parent in path.absolute().parents if parent.is_dir())
