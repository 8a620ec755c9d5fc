"""SIGTERM and SIGHUP, which clusters and closed terminals send: a command ends where nothing is lost, then with 143."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_CODE = 143
"""128 + SIGTERM, as of a process that the signal ended."""


class Terminated(BaseException):
    """A signal ends the command; the message, perhaps empty, says what was done before."""


class _State:
    """Of this process."""

    requested = False
    deferrable = deferred = False
    second_exits = True


@contextmanager
def handled() -> Iterator[None]:
    """Raise `Terminated` in the block on SIGTERM or SIGHUP, or where `defer` said so later; on a second one, exit.

    A signal that the process ignores, as under nohup, stays ignored. Outside the main thread nothing is handled.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {each: signal.getsignal(each) for each in (getattr(signal, name) for name in names)}
    for each, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(each, _on_signal)
    try:
        yield
    finally:
        _State.requested = _State.deferrable = _State.deferred = False
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def deferrable() -> Iterator[None]:
    """In the block, after a call of `defer`, a signal waits until the end of the block.

    Raises:
        Terminated: At the end, after a signal.
    """
    _State.deferrable = True
    try:
        yield
    finally:
        _State.deferrable = _State.deferred = False
    if _State.requested:
        raise Terminated


def defer() -> None:
    """From now on to the end of a `deferrable` block, look at `requested` often and end soon after it."""
    _State.deferred = _State.deferrable


def ignore_further() -> None:
    """From now on, ignore a second signal: the process that started this one may pass on what both have got."""
    _State.second_exits = False


def requested() -> bool:
    """Whether a signal waits."""
    return _State.requested


def _on_signal(*_: object) -> None:
    if _State.requested:
        if _State.second_exits:
            os._exit(EXIT_CODE)
        return
    _State.requested = True
    if not _State.deferred:
        raise Terminated
