"""Checkpoints that survive a kill at any moment: written beside, renamed when whole, the last one kept."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efface import distributed
from efface.atomic import atomic_folder
from efface.errors import EffaceError, first_line

if TYPE_CHECKING:
    from efface.train.parallel import ParallelModel

_NAME = re.compile(r"step-(\d+)")


def latest(folder: Path) -> tuple[int, Path] | None:
    """Step and path of the newest whole checkpoint in `folder`."""
    found = [(int(match[1]), path) for path in folder.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return max(found, default=None)


def save(accelerator: Any, placement: ParallelModel, folder: Path, step: int) -> Path:
    """Write what is trained, its optimizer, the schedule and what else is registered; then drop the older checkpoints.

    What is not trained, such as the base of adapters, never changes and is left out. Raises `EffaceError` when the disk
    is full; the older checkpoint then stays.
    """
    final = folder / f"step-{step:06d}"
    with atomic_folder(final, by_all=True) as beside:
        accelerator.save_state(str(beside))
        placement.save(beside)
    if distributed.is_main_process():
        for path in folder.glob("step-*"):
            if path != final:
                shutil.rmtree(path)
    return final


def load(accelerator: Any, placement: ParallelModel, path: Path) -> None:
    """Read what `save` wrote into the placement's model and optimizer and the accelerator's schedule.

    The number of processes may be another one. Raises `EffaceError` for a damaged checkpoint.
    """
    try:
        accelerator.load_state(str(path))
        placement.load(path)
    except Exception as error:  # accelerate, safetensors and torch's unpickler each raise their own
        raise EffaceError(f"checkpoint {path} does not load ({first_line(error)}); remove it to start anew") from error
