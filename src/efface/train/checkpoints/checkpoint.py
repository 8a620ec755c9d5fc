"""Checkpoints of a training: written to a temporary folder and renamed when complete, so that a kill at any moment
leaves the previous one. Only the newest is kept. `CheckpointWriter` writes them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from efface.distributed import DistributedError
from efface.errors import EffaceError, first_line
from efface.files.sums import checkpoint_problem, folder_sums, written_files
from efface.frozen import FrozenModel
from efface.main_process import from_main_process, map_over_ranks
from efface.train.distribution.parallel import ParallelModel

_NAME = re.compile(r"step-(\d+)")
_STATE = "trainer_state.json"
_OLD_SCHEDULER, _OLD_TOKEN_BUDGET = "custom_checkpoint_0.pkl", "custom_checkpoint_1.pkl"
"""State of the learning rate's scheduler and of the token budget as accelerate wrote them for earlier versions."""


class TrainerState(FrozenModel):
    """`trainer_state.json` of a checkpoint: what is neither a weight nor the optimizer's."""

    step: int
    """Number of optimizer steps that were made."""
    token_budget: dict[str, Any]
    """`TokenBudget.state_dict()`."""
    retain_coeff: float | None = None
    """Of the next step, where `train.retain_bound` changes it."""


def latest(folder: Path) -> tuple[int, Path] | None:
    """Step and path of the newest complete checkpoint in `folder`; None where there is none."""
    found = [(step, path) for path in folder.glob("step-*") if (step := _step_of(path)) is not None]
    return max(found, default=None)


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint after `step` is, in the folder of all checkpoints of a run.

    Args:
        folder: The folder of all checkpoints of a run.
        step: Number of optimizer steps that were made.

    Returns:
        Its path, which need not exist.
    """
    return folder / f"step-{step:06d}"


def write_state(state: TrainerState, path: Path) -> None:
    """Write the trainer's state into a checkpoint's folder.

    Args:
        state: What neither the weights nor the optimizer have.
        path: The checkpoint's folder, which exists.

    Raises:
        OSError: The file cannot be written.
    """
    (path / _STATE).write_text(state.model_dump_json(indent=2, exclude_none=True) + "\n", encoding="utf-8")


def remove_others(final: Path) -> None:
    """Remove all checkpoints but this one, which is complete."""
    for path in final.parent.glob("step-*"):
        if path != final:
            shutil.rmtree(path)


def remove_partial(folder: Path) -> None:
    """Remove what a kill left of checkpoints that were being written; only where none is being written."""
    for path in folder.glob(".step-*.partial"):
        shutil.rmtree(path, ignore_errors=True)


def load(parallel_model: ParallelModel, path: Path, *, last_step: int | None = None) -> TrainerState:
    """Read a checkpoint, also of an earlier version of efface, into the model and its optimizer.

    Args:
        parallel_model: Of any number of processes; it may differ from the number that wrote the checkpoint.
        path: The checkpoint's folder.
        last_step: Of the training, which has no checkpoint beyond it.

    Returns:
        The trainer's state.

    Raises:
        EffaceError: The checkpoint is damaged, or not what the run wrote.
    """
    named_step = _step_of(path)
    if last_step is not None and named_step is not None and named_step > last_step:
        raise EffaceError(
            f"checkpoint {path} is beyond the last step, {last_step}, so this training did not write it; remove it, "
            "then continue with --resume"
        )
    problem = _problem(path)
    if problem is not None:
        raise EffaceError(f"checkpoint {path} does not load ({problem}); remove it to start from scratch")
    is_old = not (path / _STATE).is_file() and (path / _OLD_SCHEDULER).is_file()
    try:
        state = _read_old_state(path) if is_old else TrainerState.model_validate_json((path / _STATE).read_bytes())
        if state.step != named_step:
            raise ValueError(f"it is of step {state.step}")
        parallel_model.load(path)
    except DistributedError:
        raise
    except Exception as error:  # pydantic, safetensors and torch's unpickler each raise their own
        if is_old:
            raise EffaceError(
                f"checkpoint {path} was written by an earlier version of efface and does not load "
                f"({first_line(error)}); start again in another --out"
            ) from error
        raise EffaceError(
            f"checkpoint {path} does not load ({first_line(error)}); remove it to start from scratch"
        ) from error
    return state


def _problem(path: Path) -> str | None:
    """What is wrong with a checkpoint's files, each of which is read by one of the processes."""
    names = from_main_process(lambda: sorted(each.relative_to(path).as_posix() for each in written_files(path)))

    def sums_of(indices: Sequence[int]) -> list[str]:
        sums = folder_sums(path, [path / names[index] for index in indices])
        return [sums[names[index]] for index in indices]

    sums = map_over_ranks(len(names), sums_of)
    return from_main_process(lambda: checkpoint_problem(path, dict(zip(names, sums, strict=True))))


def _step_of(path: Path) -> int | None:
    """The step in the name of a checkpoint; None for another name."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def _read_old_state(path: Path) -> TrainerState:
    """The state as accelerate pickled it; its third file, with states of random generators, was never needed."""
    scheduler, token_budget = (
        torch.load(path / name, map_location="cpu", weights_only=True) for name in (_OLD_SCHEDULER, _OLD_TOKEN_BUDGET)
    )
    return TrainerState(step=scheduler["last_epoch"], token_budget=token_budget)
