"""The number of CPU threads of torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import torch

_USER_CHOICES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables with which a user, or torchrun for its processes, sets the number of threads."""


def limit_threads(root: Path = Path("/")) -> int:
    """Limit torch's threads to the CPU quota of the container.

    By default torch uses one thread for each physical core. It ignores a CPU quota (`docker run --cpus`, a limit in
    Kubernetes): more threads than the quota use up the shared time, and all of them wait. This never raises the number
    of threads, and does nothing if an environment variable sets it.

    Args:
        root: where /proc and /sys are.

    Returns:
        The number of threads.
    """
    quota = cpu_quota(root)
    if quota is not None and not any(os.environ.get(name) for name in _USER_CHOICES):
        torch.set_num_threads(threads_within(quota, torch.get_num_threads()))
    return torch.get_num_threads()


def threads_within(quota: float, threads: int) -> int:
    """Return the number of threads within a quota of `quota` cores: whole cores, at most `threads`, at least one.

    Args:
        quota: CPU quota in cores, possibly a fraction.
        threads: the number of threads without a quota.

    Returns:
        The number of threads.
    """
    return max(1, min(threads, int(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return the smallest quota, in cores, of this process's control groups; None without one, or not on Linux."""
    groups = root / "sys" / "fs" / "cgroup"
    quotas = [quota for group, versions in _groups(root) if (quota := _quota(groups / group, *versions)) is not None]
    return min(quotas, default=None)


def _groups(root: Path) -> Iterator[tuple[PurePosixPath, tuple[str, ...]]]:
    """Folders of this process's control groups and of their parents, with the names of the files of their quota.

    The parents include the root: inside a container, /proc may name a path that exists only on the host.
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
        group = PurePosixPath(path.lstrip("/"))
        for folder in (group, *group.parents):
            yield PurePosixPath(controllers) / folder, files


def _quota(group: Path, *files: str) -> float | None:
    """Quota divided by period, in cores; None if there is none."""
    try:
        quota, period = " ".join((group / file).read_text(encoding="utf-8") for file in files).split()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # another version of control groups, or `max`
        return None
