"""The processor of this machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import psutil


def processor_name() -> str:
    """Name of the processor, or its architecture."""
    return cpuinfo("model name") or platform.processor() or platform.machine()


def processor_cores() -> int:
    """Number of cores."""
    return psutil.cpu_count(logical=False) or os.cpu_count() or 1


def cpuinfo(key: str) -> str | None:
    """The first value of a key in Linux's /proc/cpuinfo.

    Args:
        key: Such as `model name`.

    Returns:
        The value; None where the system does not list it.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    entries = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in entries if name.strip() == key), None)
