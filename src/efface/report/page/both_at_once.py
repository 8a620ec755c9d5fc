"""Two functions at once, on two cores: one of them in a forked process. No torch."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

_Result = TypeVar("_Result")


def can_fork() -> bool:
    """Whether `both_at_once` would gain time: on Linux, with a second core and no thread that a fork would lose."""
    return sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1 and threading.active_count() == 1


def both_at_once(first: Callable[[], _Result], second: Callable[[], _Result]) -> tuple[_Result, _Result]:
    """Call two functions, the first one in a process of its own.

    Where that process fails or is killed, the first function is called again in this one, which then raises its error.

    Args:
        first: Returns what can be pickled, changes nothing, and does not use torch.
        second: Any function.

    Returns:
        Both results.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(first, receiver, sender), daemon=True)
    process.start()
    sender.close()  # so that the end of the other process is the end of the pipe
    try:
        own = second()
        try:
            return receiver.recv(), own
        except EOFError:
            return first(), own
    finally:
        process.kill()
        process.join()
        receiver.close()


def _send(work: Callable[[], object], receiver: Connection, sender: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both, and the other process kills this one
    receiver.close()  # so that sending fails once the other process has ended
    try:
        result = work()
    except Exception:
        return
    sender.send(result)
