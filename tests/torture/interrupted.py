"""Commands that are killed, terminated or moved at a random moment and continued: nothing comes out otherwise."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import forked
from victims import Command, commands

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


def _count_writes(command: Command, out: Path, place: Path) -> int:
    """The number of writes of a whole command."""
    log = place / "writes"
    log.write_text("0", encoding="ascii")
    counter = os.open(log, os.O_RDWR)
    counted = watch(out, lambda number: os.pwrite(counter, str(number).encode(), 0))
    ended = forked.run(command.start(out), place, prepare=counted)
    os.close(counter)
    assert ended.code == 0, ended.stderr
    return int(log.read_text(encoding="ascii"))


def tries(folder: Path, count: int, seed: int) -> Iterator[tuple[str, str, str | None]]:
    """Interrupt each command at random moments and continue it.

    Args:
        folder: An empty folder.
        count: Kills in all; half as many terminations.
        seed: Of the moments.

    Yields:
        Fault, the try's name, and the problem or None.
    """
    random_ = random.Random(seed)
    made = commands(folder)
    for index, (name, command) in enumerate(made.items()):
        whole = folder / f"{name.replace(' ', '-')}-whole"
        if command.copied is not None:
            shutil.copytree(command.copied, whole)
        writes = _count_writes(command, whole, folder)
        expected = command.outcome(whole)
        share = max(1, count // len(made) + (index < count % len(made)))
        for signal_ in [signal.SIGKILL] * share + [signal.SIGTERM] * (share // 2 or 1):
            number = random_.randint(1, writes)
            problem = _try(command, folder, number, signal_, expected)
            yield f"{signal_.name} at a random write", f"{name}, write {number} of {writes}", problem
        shutil.rmtree(whole)


def _try(
    command: Command, folder: Path, number: int, signal_: signal.Signals, expected: dict[str, object]
) -> str | None:
    out, moved = folder / "out", folder / "moved"
    for path in (out, moved):
        shutil.rmtree(path, ignore_errors=True)
    if command.copied is not None:
        shutil.copytree(command.copied, out)
    killed = watch(out, lambda seen: os.kill(os.getpid(), signal_) if seen == number else None)
    ended = forked.run(command.start(out), folder, prepare=killed)
    allowed = (-signal.SIGKILL,) if signal_ == signal.SIGKILL else (0, 143)
    if ended.code not in allowed:
        return f"exit code {ended.code}: {ended.stderr.strip()[-200:]}"
    if command.copied is None:  # a folder that is continued may have been moved, except that of a queue's last request
        out.rename(moved)
    else:
        moved = out
    if ended.code != 0:
        ended = forked.run(command.resume(moved), folder)
        if ended.code != 0:
            return f"not continued: {ended.stderr.strip()[-200:]}"
    verified = forked.run(["verify", moved], folder)
    if verified.code != 0:
        return f"verify: exit code {verified.code}"
    found = command.outcome(moved)
    different = sorted(each for each in {*found, *expected} if found.get(each) != expected.get(each))
    return f"other files: {', '.join(different[:5])}" if different else None
