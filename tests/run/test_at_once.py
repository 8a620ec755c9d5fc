"""Several jobs at once: what they return and report, and that none stays when one fails or the first process ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from efface import termination
from efface.errors import EffaceError
from efface.run.at_once import ConcurrentJob, at_once, most_at_once
from efface.train.step_log import StepLog
from support.runs import Told

STEP = StepLog(step=1, steps=1, loss=0.0, forget=0.0, retain=0.0, grad_norm=0.0, lr=0.0, tokens=1, seconds=0.0)


class Heard(Told):
    """Remembers steps and progress, too."""

    def __init__(self) -> None:
        super().__init__()
        self.others: list[Any] = []

    def on_step(self, log):
        self.others.append(log)

    def on_progress(self, what, done, total):
        self.others.append((what, done, total))


class OddError(Exception):
    """Cannot be unpickled: it needs two arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def do(works: dict[str, Callable[..., Any]], processes: int, reporter: Any = None) -> dict[str, Any]:
    jobs = [ConcurrentJob(name, work, reporter or Told()) for name, work in works.items()]
    return {job.name: result for job, result in at_once(jobs, processes=processes)}


def place(_: Any) -> tuple[int, int]:
    return os.getpid(), torch.get_num_threads()


def say_pid_and_wait(reporter: Any) -> None:
    reporter.on_stage(str(os.getpid()))
    for _ in range(3000):
        time.sleep(0.02)
        reporter.on_progress("waiting", 0, 1)


def check_ended(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        for _ in range(3000):
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return
            time.sleep(0.02)
        pytest.fail("the process still runs")


def test_each_job_has_a_process_with_one_thread() -> None:
    places = do({"a": place, "b": place, "c": place}, 2)
    assert sorted(places) == ["a", "b", "c"]
    assert len({os.getpid(), *(pid for pid, _ in places.values())}) == 4
    assert {threads for _, threads in places.values()} == {1}


def test_one_process_is_this_one() -> None:
    assert do({"a": place, "b": place}, 1) == {"a": place(None), "b": place(None)}


@pytest.mark.parametrize("processes", [1, 2])
def test_everything_is_reported_to_the_reporter_of_the_job(processes: int) -> None:
    def work(reporter: Any) -> None:
        reporter.on_stage("begins")
        reporter.on_warning("odd")
        reporter.on_step(STEP)
        reporter.on_progress("outputs", 1.5, 3)

    heard, silent = Heard(), Heard()
    for _ in at_once(
        [ConcurrentJob("a", work, heard), ConcurrentJob("b", lambda _: None, silent)], processes=processes
    ):
        pass
    assert (heard.stages, heard.warnings, heard.others) == (["begins"], ["odd"], [STEP, ("outputs", 1.5, 3)])
    assert (silent.stages, silent.warnings, silent.others) == ([], [], [])


@pytest.mark.parametrize(
    "error",
    [EffaceError("choose another"), OSError(28, "full"), PermissionError(13, "denied"), OddError("one", "two")],
)
def test_an_error_ends_the_other_jobs_and_is_raised(error: Exception) -> None:
    heard = multiprocessing.get_context("fork").Event()

    class Hears(Told):
        def on_stage(self, text):
            super().on_stage(text)
            heard.set()

    def fail(_: Any) -> None:
        heard.wait()
        raise error

    told = Hears()
    with pytest.raises(RuntimeError if isinstance(error, OddError) else type(error), match=str(error.args[-1])):
        do({"waits": say_pid_and_wait, "fails": fail}, 2, told)
    check_ended(int(told.stages[0]))


def test_a_killed_process_is_named() -> None:
    def end(_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(EffaceError, match=r"me\+gd.* -9.*memory.*OMP_NUM_THREADS=1"):
        do({"me+gd": end, "other": say_pid_and_wait}, 2)


def test_a_process_that_is_killed_while_it_sends_is_named() -> None:
    def end(reporter: Any) -> None:
        os.write(reporter._sender.fileno(), struct.pack("!i", 1000) + b"the beginning of 1000 bytes")
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(EffaceError, match=r"me\+gd.* -9.*memory"):
        do({"me+gd": end, "other": say_pid_and_wait}, 2)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, EffaceError])
def test_nothing_runs_after_an_interruption(interruption: type[BaseException]) -> None:
    class Interrupted(Told):
        def on_progress(self, what, done, total):
            raise interruption

    told = Interrupted()
    with pytest.raises(interruption):
        do({"a": say_pid_and_wait, "b": say_pid_and_wait}, 2, told)
    for pid in told.stages:
        check_ended(int(pid))


def test_a_run_ends_where_nothing_is_lost(tmp_path: Path) -> None:
    def train(reporter: Any) -> None:
        with termination.deferrable():
            termination.defer()
            reporter.on_stage("training")
            while not termination.requested():
                time.sleep(0.01)
            os.kill(
                os.getpid(), signal.SIGTERM
            )  # a cluster may send it to all processes, and the first one passes it on
            (tmp_path / "checkpoint").touch()

    class Interrupted(Told):
        def on_stage(self, text):
            raise KeyboardInterrupt

    with termination.handled(), pytest.raises(KeyboardInterrupt):
        do({"a": train, "b": train}, 2, Interrupted())
    assert (tmp_path / "checkpoint").is_file()


def test_what_ends_may_report_more_than_a_pipe_holds(tmp_path: Path) -> None:
    def train(reporter: Any) -> None:
        with termination.deferrable():
            termination.defer()
            reporter.on_stage("training")
            while not termination.requested():
                time.sleep(0.01)
            for _ in range(10):
                reporter.on_stage("x" * 100_000)
            (tmp_path / "checkpoint").touch()

    class Interrupted(Told):
        def on_stage(self, text):
            raise KeyboardInterrupt

    with termination.handled(), pytest.raises(KeyboardInterrupt):
        do({"a": train, "b": train}, 2, Interrupted())
    assert (tmp_path / "checkpoint").is_file()


def test_jobs_end_with_a_first_process_that_is_killed() -> None:
    receive, send = os.pipe()

    class Writes(Told):
        def on_stage(self, text):
            os.write(send, f"{text}\n".encode())

    if (first := os.fork()) == 0:
        try:
            do({"a": say_pid_and_wait, "b": say_pid_and_wait}, 2, Writes())
        finally:
            os._exit(0)
    said = b""
    while said.count(b"\n") < 2:
        said += os.read(receive, 100)
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    for pid in said.split():
        check_ended(int(pid))


def test_as_many_as_threads_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert most_at_once(torch.device("cpu")) == 3
    assert most_at_once(torch.device("cuda")) == 1
    monkeypatch.setattr("sys.platform", "darwin")
    assert most_at_once(torch.device("cpu")) == 1
