"""The device of a run, copies to it, and its peak memory."""

from __future__ import annotations

import os
import sys

import torch
from torch import Tensor

from efface import distributed
from efface.errors import EffaceError
from efface.hardware.choices import Device
from efface.hardware.threads import limit_threads

_ALLOCATOR_SETTINGS = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")


def device_for(choice: Device) -> torch.device:
    """Resolve the setting `device`, limit torch's threads, and connect the processes of a distributed run.

    Args:
        choice: `auto` is CUDA if torch sees a GPU.

    Returns:
        The device of this process: with several processes, each has its own GPU.

    Raises:
        EffaceError: there is no GPU, or the machine has fewer GPUs than processes.
    """
    limit_threads()
    if choice != "cpu":
        _use_expandable_segments()
    if choice == "cuda" and not torch.cuda.is_available():
        raise EffaceError("device=cuda: torch sees no CUDA device here; use device=cpu or auto")
    cuda = choice != "cpu" and torch.cuda.is_available()
    if cuda and distributed.launched_world_size() > 1 and distributed.local_rank() >= torch.cuda.device_count():
        raise EffaceError(
            f"process {distributed.local_rank()} of this machine needs a GPU of its own, but there are only "
            f"{torch.cuda.device_count()}; start as many processes as GPUs, or set device=cpu"
        )
    distributed.init_process_group("cuda" if cuda else "cpu")
    if not cuda:
        return torch.device("cpu")
    return torch.device("cuda", distributed.local_rank()) if distributed.world_size() > 1 else torch.device("cuda")


def _use_expandable_segments() -> None:
    """Let torch's allocator grow its blocks, unless the user has set it up.

    Every step has another number of tokens; blocks of fixed size would leave gaps that the next tensors do not fit
    into. The allocator reads this variable when it is first used.
    """
    if sys.platform == "linux" and not any(os.environ.get(name) for name in _ALLOCATOR_SETTINGS):
        os.environ[_ALLOCATOR_SETTINGS[0]] = "expandable_segments:True"


def copy_to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """Copy a CPU tensor to `device`, without waiting for pending GPU work.

    Args:
        tensor: On the CPU.
        device: Where to copy it.

    Returns:
        The copy; `tensor` itself where `device` is the CPU.
    """
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of `peak_memory`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int | None:
    """Return the peak memory of tensors on a GPU since `reset_peak_memory`, in bytes; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
