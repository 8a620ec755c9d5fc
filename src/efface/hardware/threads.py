"""How many threads torch computes with on a CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import torch

_CHOSEN = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables by which a user, or torchrun for its processes, sets the number of threads."""


def limit_threads(root: Path = Path("/")) -> int:
    """Let torch compute with no more threads than the container's share of the processor has; returns how many.

    By itself torch takes one for each physical core that it may run on. It does not see a CPU quota (`docker run
    --cpus`, a limit in Kubernetes): threads beyond it use up the time that all have together, and all wait. Fewer
    threads stay fewer, and a choice in the environment stands. `root`: where /proc and /sys are found.
    """
    quota = cpu_quota(root)
    if quota is not None and not any(os.environ.get(name) for name in _CHOSEN):
        torch.set_num_threads(threads_within(quota, torch.get_num_threads()))
    return torch.get_num_threads()


def threads_within(quota: float, threads: int) -> int:
    """At most `threads`, and at most the whole cores that a quota of `quota` cores holds; at least one."""
    return max(1, min(threads, int(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The least quota, in cores, of the control groups that this process is in; None without one, or not on Linux."""
    groups = root / "sys" / "fs" / "cgroup"
    quotas = [quota for group, versions in _groups(root) if (quota := _quota(groups / group, *versions)) is not None]
    return min(quotas, default=None)


def _groups(root: Path) -> Iterator[tuple[PurePosixPath, tuple[str, ...]]]:
    """Folders of this process's control groups and of those around them, with the files that hold their quota.

    A container may see itself at the top, whatever /proc says.
    """
    try:
        lines = (root / "proc" / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        files = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
        place = PurePosixPath(path.lstrip("/"))
        for folder in (place, *place.parents):
            yield PurePosixPath(controllers) / folder, files


def _quota(group: Path, *files: str) -> float | None:
    """Quota over period, in cores; None where there is none."""
    try:
        quota, period = " ".join((group / file).read_text(encoding="utf-8") for file in files).split()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # another version of control groups, or `max`
        return None
