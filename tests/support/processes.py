"""Child processes forked from one that has imported everything, for imports take longer than what most tests do."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any

PRELOADED = (
    "efface.demo",
    "accelerate.tracking",
    "peft",
    "torch.distributed.fsdp",
    "torch.distributed.tensor",
    "transformers.generation.utils",
    "transformers.models.llama.modeling_llama",
)
"""What a run imports on its way."""
TIME_LIMIT_S = 900


@dataclass(frozen=True)
class Ended:
    """How a process ended and what it printed."""

    code: int
    output: str


def fork(work: Callable[..., object], *arguments: Any) -> Any:
    """Start a process that calls `work`, a function that can be pickled; returns the started process."""
    os.environ["OMP_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    process = context.Process(target=_work_here, args=(dict(os.environ), work, arguments))
    process.start()
    return process


def _work_here(environment: dict[str, str], work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    """Work in the environment of the test, not in that of the first test of all that started a process."""
    os.environ.clear()
    os.environ.update(environment)
    faulthandler.enable(2)  # a crash prints where each thread was
    work(*arguments)


def exit_code(process: Any) -> int:
    """Wait for a process of `fork`; negative: the number of the signal that ended it."""
    process.join(TIME_LIMIT_S)
    if process.exitcode is None:
        process.kill()
        raise AssertionError("the child process hangs")
    return int(process.exitcode)


def run_group(folder: Path, count: int, work: Callable[..., object], *arguments: Any) -> list[Ended]:
    """Run `work` in `count` processes, with the variables that torchrun sets; returns how each ended, by rank.

    As under torchrun, all get SIGTERM as soon as one fails.

    Args:
        folder: Existing folder for files with the output of each process.
        count: Number of processes.
        work: A function that can be pickled.
        arguments: Of `work`.
    """
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # at a free port
    logs = [folder / f"rank-{rank}.txt" for rank in range(count)]
    processes = [fork(_member, rank, count, store.port, log, work, arguments) for rank, log in enumerate(logs)]
    running = list(processes)
    while running:
        ended = connection.wait([each.sentinel for each in running], TIME_LIMIT_S)
        running = [each for each in running if each.sentinel not in ended]
        if not ended or any(each.exitcode for each in processes):
            for each in running:
                each.terminate()
            break
    codes = [exit_code(process) for process in processes]
    printed = [
        log.read_text(encoding="utf-8") if log.exists() else "" for log in logs
    ]  # one may end before it has begun
    return [Ended(code, text) for code, text in zip(codes, printed, strict=True)]


def run_program(arguments: list[str]) -> None:
    """What `python ARGUMENTS` does, for a script or `-m` and a module; a function for `run_group`."""
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__")
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


def _member(
    rank: int, count: int, port: int, log: Path, work: Callable[..., object], arguments: tuple[Any, ...]
) -> None:
    """One process of a group."""
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the process that started this one serves the port
    }
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    work(*arguments)
