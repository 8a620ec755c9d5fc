"""SIGTERM and SIGHUP end a block, at once or at its end; two signals end the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import efface
from efface.termination import EXIT_CODE, Terminated, defer, deferrable, handled, requested

SIGNALS = [signal.SIGTERM, signal.SIGHUP]


def send(number):
    os.kill(os.getpid(), number)


def deferred(number, *, deferring=True, steps=None, error=None):
    """A block in which a signal is sent, and that is then completed."""
    with handled(), deferrable():
        if deferring:
            defer()
        send(number)
        assert requested()
        if steps is not None:
            steps.append("saved")
        if error is not None:
            raise error


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_block_at_once(number):
    before, steps = signal.getsignal(number), []
    with pytest.raises(Terminated):
        deferred(number, deferring=False, steps=steps)
    assert steps == []
    assert signal.getsignal(number) == before
    assert not requested()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_deferred_signal_waits_until_the_end_of_its_block(number):
    steps = []
    with pytest.raises(Terminated):
        deferred(number, steps=steps)
    assert steps == ["saved"]


def test_after_what_was_deferred_a_signal_ends_at_once():
    with handled():
        with deferrable():
            defer()
        defer()  # outside of such a block
        with pytest.raises(Terminated):
            send(signal.SIGTERM)


def test_an_error_is_not_hidden_by_a_signal():
    with pytest.raises(ValueError, match="lost"):
        deferred(signal.SIGTERM, error=ValueError("lost"))


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handled():
            send(signal.SIGHUP)
            assert not requested()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_handle_no_signals():
    done = []

    def work():
        with handled():
            done.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [signal.getsignal(signal.SIGTERM)]


def test_the_second_signal_ends_the_process_at_once():
    program = (
        "import os, signal, time\n"
        "from efface.termination import *\n"
        "with handled(), deferrable():\n"
        "    defer()\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('first', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    print('second', flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(efface.__file__).parents[1])}
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (EXIT_CODE, "first\n"), ran.stderr
    assert EXIT_CODE == 143
