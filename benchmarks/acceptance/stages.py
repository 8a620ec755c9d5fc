"""A stage: several measurements, one after another in a process of their own, which is ended when its time is over."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any

import torch

from acceptance.sizes import Sizes
from measure import Device

Row = dict[str, Any]
"""The numbers of one measurement; or its one key is `failed`, `skipped` or `cut off`, with a sentence."""
Measurements = Mapping[str, Callable[[], Row]]
"""Name -> what measures it."""
Plan = Callable[[Sizes, Device], Measurements]
"""Sizes and device -> the measurements of a stage, not made yet; a function that can be pickled."""
START_METHOD = "spawn"


class SkippedError(Exception):
    """A measurement is not possible on this machine; its message says why."""


def run_stage(plan: Plan, sizes: Sizes, device: Device, *, seconds: float) -> Iterator[tuple[str, Row]]:
    """Run the measurements of a stage in a new process.

    Args:
        plan: The stage.
        sizes: How large everything is.
        device: `cuda` or `cpu`.
        seconds: When these are over, the process is ended.

    Yields:
        Name and numbers of each measurement as soon as it is made; of those that are not made, the reason.
    """
    context: Any = multiprocessing.get_context(START_METHOD)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, plan, sizes, device))
    process.start()
    sender.close()
    left, reason = [plan.__name__], {"cut off": f"not finished after {seconds:.0f} s"}
    end = time.monotonic() + seconds
    try:
        while left and receiver.poll(max(0.0, end - time.monotonic())):
            message = receiver.recv()
            if isinstance(message, list):
                left = message
            else:
                left = left[1:]
                yield message
    except EOFError:
        process.join()
        reason = {"failed": f"the process ended with exit code {process.exitcode}; see its messages above"}
    finally:
        _kill(process)
    yield from ((name, reason) for name in left)


def _kill(process: Any) -> None:
    """End a process and those that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it has ended, or has no group of its own yet
        process.kill()
    process.join()


def _work(sender: Connection, plan: Plan, sizes: Sizes, device: Device) -> None:
    os.setpgid(0, 0)
    measurements = plan(sizes, device)
    sender.send(list(measurements))
    for name, measure in measurements.items():
        sender.send((name, attempt(measure)))


def attempt(measure: Callable[[], Row]) -> Row:
    """The numbers of a measurement, or why there are none; afterwards its memory is free."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    start = time.monotonic()
    try:
        return {**measure(), "wall_seconds": time.monotonic() - start}
    except SkippedError as error:
        return {"skipped": str(error)}
    except torch.OutOfMemoryError:
        return {"failed": "does not fit into the device's memory"}
    except Exception as error:  # the other measurements go on, whatever went wrong in this one
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}
    finally:
        free_unused_memory()


def free_unused_memory() -> None:
    """Return what nothing refers to any more to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def synchronized_seconds(work: Callable[[], object], device: str) -> float:
    """Wall clock of `work`, with all that it has started on a GPU."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
