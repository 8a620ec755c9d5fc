"""Free memory and free disk space."""

from __future__ import annotations

import ctypes
import platform
import shutil
from pathlib import Path
from typing import Any

import psutil
import torch

_CGROUP = Path("/sys/fs/cgroup")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's mallopt: how much freed memory is kept, and from how many bytes on an allocation has pages of its own."""
_RETURNED_BYTES = 1 << 18
"""Larger tensors are returned."""
_KEPT_BYTES, _MOST_KEPT = 1 << 25, 1 << 28
"""Tensors of up to 32 MiB, the most that glibc accepts, are kept when they are freed, 256 MiB of them."""


def free_memory(device: torch.device) -> int:
    """Return the free memory of a GPU, or of this machine, in bytes.

    Memory that torch has reserved but does not use counts as free. In a container, its memory limit counts too.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + unused)
    free: int = psutil.virtual_memory().available
    try:
        limit = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free
    return min(free, limit - used + _reclaimable_file_cache())


def _reclaimable_file_cache() -> int:
    """Bytes of cached files, such as weights read earlier, that a container's usage includes but the kernel frees."""
    try:
        lines = (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("inactive_file "))


def return_freed_memory() -> None:
    """Let this process return tensors to the system as soon as they are freed, at the cost of some speed.

    The allocator of Linux keeps them otherwise, in pieces that larger tensors do not fit into: half as much again for
    weights that are gathered layer by layer.
    """
    if (allocator := _glibc()) is not None:
        allocator.mallopt(_M_MMAP_THRESHOLD, _RETURNED_BYTES)


def keep_freed_memory() -> None:
    """Let this process keep freed tensors of a small model, instead of new pages of the system for those of each step.

    `trim_freed_memory` returns them.
    """
    if (allocator := _glibc()) is not None:
        allocator.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        allocator.mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)


def trim_freed_memory() -> None:
    """Return what has been freed so far."""
    if (allocator := _glibc()) is not None:
        allocator.malloc_trim(0)


def _glibc() -> Any:
    return ctypes.CDLL("libc.so.6") if platform.libc_ver()[0] == "glibc" else None


def disk_free(folder: Path) -> int:
    """Return the free bytes of the disk of `folder`, which need not exist yet."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    return shutil.disk_usage(existing).free
