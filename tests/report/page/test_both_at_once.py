"""Two functions at once, one of them in a forked process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys

import pytest

from efface.errors import EffaceError
from efface.report.page import both_at_once as module
from efface.report.page.both_at_once import both_at_once, can_fork

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are used on Linux alone")
HERE = os.getpid()


def test_one_runs_in_another_process() -> None:
    first, second = both_at_once(os.getpid, os.getpid)
    assert second == HERE != first


def test_large_results_arrive() -> None:
    text = "x" * 1_000_000  # more than a pipe holds
    assert both_at_once(lambda: text, lambda: "y") == (text, "y")


def test_an_error_of_either_is_raised() -> None:
    def refuse() -> str:
        raise EffaceError("no")

    for pair in ((refuse, str), (str, refuse)):
        with pytest.raises(EffaceError, match="no"):
            both_at_once(*pair)


def test_a_process_that_is_killed_is_made_up_for() -> None:
    def killed_in_a_fork() -> int:
        if os.getpid() != HERE:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    assert both_at_once(killed_in_a_fork, os.getpid) == (HERE, HERE)


def test_an_error_here_ends_the_other_process() -> None:
    def wait() -> None:
        signal.pause()

    def refuse() -> None:
        raise EffaceError("no")

    with pytest.raises(EffaceError):
        both_at_once(wait, refuse)
    assert not multiprocessing.active_children()


def test_one_core_and_other_systems_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.threading, "active_count", lambda: 1)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda process: {0, 1})
    assert can_fork()
    monkeypatch.setattr(module.threading, "active_count", lambda: 2)
    assert not can_fork()
    monkeypatch.setattr(module.threading, "active_count", lambda: 1)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda process: {0})
    assert not can_fork()
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(module.sys, "platform", "darwin")
    assert not can_fork()
