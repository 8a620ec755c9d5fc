"""Several runs at once on the cores of one machine: each in a forked process with one thread."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from efface import termination
from efface.errors import EffaceError, summarize_error
from efface.progress.reporter import Reporter
from efface.train.step_log import StepLog

T = TypeVar("T")
_READ_BYTES = 1 << 16


@dataclass(frozen=True)
class ConcurrentJob(Generic[T]):
    """One of several runs."""

    name: str
    """Of the run in messages."""
    work: Callable[[Reporter], T]
    """Does the run, and returns what can be pickled."""
    reporter: Reporter
    """Gets what the run reports."""


@dataclass(frozen=True)
class _Running:
    job: ConcurrentJob[Any]
    process: BaseProcess
    receiver: Connection


def can_run_at_once(device: torch.device) -> bool:
    """Whether a process that has used torch can be forked: on Linux, unless the runs use a GPU.

    Args:
        device: Of the runs.
    """
    return device.type == "cpu" and sys.platform == "linux"


def most_at_once(device: torch.device) -> int:
    """How many runs with one thread use this machine as one run with torch's threads does.

    Args:
        device: Of the runs.

    Returns:
        The number of torch's threads; 1 where no runs can be at once.
    """
    return torch.get_num_threads() if can_run_at_once(device) else 1


def at_once(jobs: Sequence[ConcurrentJob[T]], *, processes: int) -> Iterator[tuple[ConcurrentJob[T], T]]:
    """Do several jobs, each in a process of its own, or all of them in this one.

    A forked process has everything imported, and one thread, so that results do not depend on how many run at once.
    When one fails, or this one is interrupted, all are terminated: each ends as `efface run` does after SIGTERM.

    Args:
        jobs: Started in this order.
        processes: The most at once. With 1, each job is done in this process, with all threads.

    Yields:
        Each job and what it returned, in the order in which they end.

    Raises:
        EffaceError: A process was killed, or a job raised one. Other errors of a job are raised, too, those of
            libraries as a `RuntimeError`.
    """
    if processes == 1:
        yield from ((job, job.work(job.reporter)) for job in jobs)
        return
    waiting, running = deque(jobs), dict[Connection, _Running]()
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                started = _start(waiting.popleft(), running)
                running[started.receiver] = started
            for receiver in wait(list(running)):
                assert isinstance(receiver, Connection)
                each = running[receiver]
                event, *values = _receive(each)
                if event == "error":
                    raise values[0]
                if event == "returned":
                    del running[receiver]
                    each.process.join()
                    receiver.close()
                    yield each.job, values[0]
                else:
                    getattr(each.job.reporter, event)(*values)
    finally:
        _end(running.values())


def _start(job: ConcurrentJob[Any], running: Collection[Connection]) -> _Running:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    ending = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ending)  # the new process can handle none before `_work`
    try:
        process = context.Process(target=_work, args=(job, sender, [receiver, *running], mask))
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    sender.close()  # so that the end of the other process is the end of the pipe
    return _Running(job, process, receiver)


def _receive(running: _Running) -> tuple[Any, ...]:
    try:
        message: tuple[Any, ...] = running.receiver.recv()
    except (EOFError, OSError):  # `OSError` in the middle of a message
        running.process.join()
        raise EffaceError(
            f"the process of run {running.job.name} ended with code {running.process.exitcode}; if nobody ended it, it "
            "was for want of memory: do fewer runs at once (--processes of a sweep; OMP_NUM_THREADS=1 for the demo)"
        ) from None
    return message


def _end(running: Collection[_Running]) -> None:
    """Terminate what still runs; a second Ctrl-C or SIGTERM kills it."""
    try:
        for each in running:
            each.process.terminate()
        for each in running:
            while os.read(each.receiver.fileno(), _READ_BYTES):
                pass  # what it still sends: it would wait for space in the pipe
            each.process.join()
            each.receiver.close()
    except BaseException:
        for each in running:
            each.process.kill()
        raise


def _work(job: ConcurrentJob[Any], sender: Connection, inherited: Sequence[Connection], mask: set[int]) -> None:
    """Of a forked process. Its output is its messages: what another thread held of stdout may be locked for ever."""
    with suppress(BrokenPipeError, termination.Terminated):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all, and the first process ends the others
        for each in inherited:
            each.close()  # so that sending fails once the first process has ended
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        torch.set_num_threads(1)
        termination.ignore_further()
        gc.freeze()  # a collection of what a run has freed need not look at all that was imported before
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            sender.send(("returned", job.work(_Sender(sender))))
        except Exception as error:
            sender.send(("error", _portable(error)))


def _portable(error: Exception) -> Exception:
    """An error that goes through a pipe, with its traceback for `--debug`.

    Errors of libraries may not: they become a `RuntimeError` of the same text.
    """
    if isinstance(error, EffaceError):
        sent: Exception = EffaceError(str(error))
    elif isinstance(error, OSError | MemoryError) and type(error).__module__ == "builtins":
        sent = error
    else:
        sent = RuntimeError(summarize_error(error))
    sent.add_note("".join(traceback.format_exception(error)))
    return sent


class _Sender:
    """A reporter that sends everything to the first process."""

    def __init__(self, sender: Connection) -> None:
        self._sender = sender

    def on_stage(self, text: str) -> None:
        self._sender.send(("on_stage", text))

    def on_warning(self, text: str) -> None:
        self._sender.send(("on_warning", text))

    def on_step(self, log: StepLog) -> None:
        self._sender.send(("on_step", log))

    def on_progress(self, what: str, done: float, total: int) -> None:
        self._sender.send(("on_progress", what, done, total))
