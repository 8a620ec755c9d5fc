"""Where a run computes: the device, its threads, and how much memory it took."""

from __future__ import annotations

import torch

from efface import distributed
from efface.errors import EffaceError
from efface.hardware import Device
from efface.hardware.threads import limit_threads


def device_for(choice: Device) -> torch.device:
    """The device asked for, where several processes of one run then meet; `auto` is CUDA where there is one.

    Each process of a machine has a GPU of its own. Raises `EffaceError` where there is none, or too few.
    """
    limit_threads()
    if choice == "cuda" and not torch.cuda.is_available():
        raise EffaceError("device=cuda: torch sees no CUDA device here; use device=cpu or auto")
    cuda = choice != "cpu" and torch.cuda.is_available()
    if cuda and distributed.launched_world_size() > 1 and distributed.local_rank() >= torch.cuda.device_count():
        raise EffaceError(
            f"process {distributed.local_rank()} of this machine has no GPU of its own, there are "
            f"{torch.cuda.device_count()}; start as many processes as GPUs, or set device=cpu"
        )
    distributed.init_process_group("cuda" if cuda else "cpu")
    if not cuda:
        return torch.device("cpu")
    return torch.device("cuda", distributed.local_rank()) if distributed.world_size() > 1 else torch.device("cuda")


def reset_peak_memory(device: torch.device) -> None:
    """Let `peak_memory` count from here."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int | None:
    """Most bytes that a GPU's tensors took since `reset_peak_memory`; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
