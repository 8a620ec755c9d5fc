"""Commands that are killed, terminated or moved at a random moment and continued: nothing comes out otherwise."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import forked
from victims import Command, Outcome, Try, differences, ready

_WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}


def watch(folder: Path, on_write: Callable[[int], object]) -> Callable[[], None]:
    """Make a child call `on_write` just before each write in a folder, with its number from 1."""

    def prepare() -> None:
        seen = 0

        def hook(event: str, details: tuple[object, ...]) -> None:
            nonlocal seen
            if event == "open":
                writing = isinstance(details[2], int) and bool(details[2] & (os.O_WRONLY | os.O_RDWR))
            else:
                writing = event in _WRITES
            if writing and str(details[0]).startswith(str(folder)):
                seen += 1
                on_write(seen)

        sys.addaudithook(hook)

    return prepare


def tries(folder: Path, made: Mapping[str, Command], count: int, seed: int) -> Iterator[Try]:
    """Interrupt each command in turn at random moments and continue it.

    Args:
        folder: An empty folder.
        made: The commands by name.
        count: Kills in all, at least one of each command; half as many terminations.
        seed: Of the moments.
    """
    random_ = random.Random(seed)
    wholes = {name: _whole(command, folder) for name, command in made.items()}
    for signal_, total in ((signal.SIGKILL, max(count, len(made))), (signal.SIGTERM, count // 2)):
        for index in range(total):
            name, command = [*made.items()][index % len(made)]
            writes, expected = wholes[name]
            number = random_.randint(1, writes)
            what = f"{name}, write {number} of {writes}"
            yield f"{signal_.name} at a random write", what, partial(_try, command, folder, number, signal_, expected)


def _whole(command: Command, folder: Path) -> tuple[int, Outcome]:
    """The number of writes of a whole command, and what it leaves."""
    out, log = folder / "whole", folder / "writes"
    ready(command, out)
    log.write_text("0", encoding="ascii")
    counter = os.open(log, os.O_RDWR)
    ended = forked.run(
        command.start(out), folder, prepare=watch(out, lambda number: os.pwrite(counter, str(number).encode(), 0))
    )
    os.close(counter)
    assert ended.code == 0, ended.stderr
    expected = command.outcome(out)
    shutil.rmtree(out)
    return int(log.read_text(encoding="ascii")), expected


def _try(command: Command, folder: Path, number: int, signal_: signal.Signals, expected: Outcome) -> str | None:
    out, moved = folder / "out", folder / "moved"
    shutil.rmtree(moved, ignore_errors=True)
    ready(command, out)
    killed = watch(out, lambda seen: os.kill(os.getpid(), signal_) if seen == number else None)
    ended = forked.run(command.start(out), folder, prepare=killed)
    allowed = (-signal.SIGKILL,) if signal_ == signal.SIGKILL else (0, 143)
    if ended.code not in allowed:
        return f"exit code {ended.code}: {ended.stderr.strip()[-200:]}"
    is_begun = out.exists()
    if command.is_movable and is_begun:
        out.rename(moved)
    else:
        moved = out
    if ended.code != 0:
        ended = forked.run(command.resume(moved) if is_begun else command.start(moved), folder)
        if ended.code != 0:
            return f"not continued: {ended.stderr.strip()[-200:]}"
    verified = forked.run(["verify", moved], folder)
    return differences(command.outcome(moved), expected) if verified.code == 0 else f"verify: {verified.code}"
