"""Faults around a run: two at once, a full or read-only disk, damaged files, a clock that jumps, loss overflow."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import forked
import interrupted
from victims import EVALUATE, TINY, outcome

_KIB = (50, 150, 300, 450, 600, 750, 900, 1200)
"""Sizes of disks that the run, which takes about 1.5 MiB, fills in different phases."""
_LARGE = "100m"
Try = tuple[str, str, str | None]
"""Fault, name of the try, and the problem or None."""


def tries(folder: Path, seed: int) -> Iterator[Try]:
    """Provoke each fault.

    Args:
        folder: An empty folder.
        seed: Of the bytes that are damaged.

    Yields:
        Fault, the try's name, and the problem or None.
    """
    whole = folder / "whole"
    ended = forked.run(_run(whole), folder)
    assert ended.code == 0, ended.stderr
    expected = outcome(whole)
    yield from _two_at_once(folder, expected)
    yield from _clock_jumps(folder, expected)
    yield from _overflow(folder)
    yield from _damaged(folder, whole, random.Random(seed))
    if _can_mount(folder):
        yield from _full_disk(folder, expected)
        yield from _read_only(folder, whole)


def _run(out: Path, *more: str) -> list[str | Path]:
    return ["run", "method=npo+kl", *TINY, *EVALUATE, *more, "--out", out]


def _different(out: Path, expected: dict[str, object]) -> str | None:
    found = outcome(out)
    names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    return f"other files: {', '.join(names[:5])}" if names else None


def _refusal(ended: forked.Ended, *named: object) -> str | None:
    """What is wrong with a command that must end with one sentence that names something."""
    if ended.code != 2:
        return f"exit code {ended.code} instead of 2"
    missing = [str(each) for each in named if str(each) not in ended.stderr]
    return ended.problem or (f"does not name {missing[0]}: {ended.stderr.strip()[-200:]}" if missing else None)


def _two_at_once(folder: Path, expected: dict[str, object]) -> Iterator[Try]:
    for name, other in (("the same run", ()), ("another method", ("method=me",)), ("another seed", ("seed=5",))):
        out, places = folder / "out", [folder / "first", folder / "second"]
        for place in places:
            place.mkdir()
        waiting = [
            forked.start(arguments, place)
            for arguments, place in zip((_run(out), _run(out, *other)), places, strict=True)
        ]
        ends = [wait(120) for wait in waiting]
        codes = [ended.code for ended in ends]
        if sorted(map(str, codes)) != ["0", "2"]:
            problem: str | None = f"exit codes {codes}"
        else:
            problem = _refusal(ends[codes.index(2)], out, "process")
            if problem is None and codes.index(0) == 0:
                problem = _different(out, expected)
        yield "two runs at once in one folder", name, problem
        for path in (out, *places):
            shutil.rmtree(path)


def _clock_jumps(folder: Path, expected: dict[str, object]) -> Iterator[Try]:
    for name, jump in (("forwards", 86_400.0), ("backwards", -86_400.0)):

        def prepare(jump: float = jump) -> None:
            real, calls = time.time, iter(range(10**9))
            time.time = lambda: real() + jump * next(calls)

        out = folder / "out"
        ended = forked.run(_run(out), folder, prepare=prepare)
        problem = f"exit code {ended.code}: {ended.stderr.strip()[-200:]}" if ended.code else _different(out, expected)
        yield "a clock that jumps by a day at each look", name, problem
        shutil.rmtree(out)


def _overflow(folder: Path) -> Iterator[Try]:
    for method in ("me+gd", "ga+gd", "npo+kl", "dpo+gd", "idk+ap"):
        out = folder / "out"
        ended = forked.run(_run(out, f"method={method}", "train.lr=1e25"), folder)
        problem = _refusal(ended, "not finite", "train.lr")
        yield "losses that are not finite", method, "a model was saved" if (out / "model").exists() else problem
        shutil.rmtree(out)


def _damaged(folder: Path, whole: Path, random_: random.Random) -> Iterator[Try]:
    recorded = ("model", "records", "results.json")
    files = [
        path for path in sorted(whole.rglob("*")) if path.is_file() and path.relative_to(whole).parts[0] in recorded
    ]
    for path in files:
        name = path.relative_to(whole)
        with _flipped(path, random_):
            ended = forked.run(["verify", whole], folder)
            found = str(name) in (folder / "stdout").read_text(encoding="utf-8") + ended.stderr
        problem = None if ended.code == 1 and found else f"verify: exit code {ended.code}, named: {found}"
        yield "a flipped bit in a finished run", str(name), problem
    cut = folder / "cut"
    ended = forked.run(_run(cut), folder, prepare=_killed_at_checkpoint(cut))
    assert ended.code == -signal.SIGKILL, ended.code
    for path in sorted(path for path in (cut / "checkpoints").glob("step-*/*") if path.is_file()):
        with _flipped(path, random_):
            copy = shutil.copytree(cut, folder / "copy")
        ended = forked.run([*_run(copy), "--resume"], folder)
        yield "a flipped bit in a checkpoint", path.name, _refusal(ended, path.parent.name)
        shutil.rmtree(copy)
    shutil.rmtree(cut)


def _killed_at_checkpoint(out: Path) -> Callable[[], None]:
    """Make a child die at its first write after a checkpoint is complete."""
    return interrupted.watch(
        out, lambda _: os.kill(os.getpid(), signal.SIGKILL) if [*out.glob("checkpoints/step-*")] else None
    )


@contextmanager
def _flipped(path: Path, random_: random.Random) -> Iterator[None]:
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[random_.randrange(len(damaged))] ^= 1 << random_.randrange(8)
    path.write_bytes(damaged)
    try:
        yield
    finally:
        path.write_bytes(content)


def _mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True, capture_output=True)


@contextmanager
def _mounted(folder: Path, size: str) -> Iterator[Path]:
    disk = folder / "disk"
    disk.mkdir()
    _mount(disk, f"size={size}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)
        disk.rmdir()


def _can_mount(folder: Path) -> bool:
    try:
        with _mounted(folder, "64k"):
            return True
    except (OSError, subprocess.CalledProcessError):
        (folder / "disk").rmdir()
        return False


def _full_disk(folder: Path, expected: dict[str, object]) -> Iterator[Try]:
    for size in _KIB:
        with _mounted(folder, f"{size}k") as disk:
            out = disk / "out"
            ended = forked.run(_run(out), folder)
            name = f"{size} KiB, exit code {ended.code}"
            problem = None if ended.code == 0 else _refusal(ended, "space")
            if problem is None and ended.code:
                _mount(disk, f"remount,size={_LARGE}")
                resume = ["--resume"] if out.exists() and [*out.iterdir()] else []
                ended = forked.run([*_run(out), *resume], folder)
                problem = f"not continued: {ended.stderr.strip()[-200:]}" if ended.code else _different(out, expected)
            yield "a full disk, then more space", name, problem


def _read_only(folder: Path, whole: Path) -> Iterator[Try]:
    with _mounted(folder, _LARGE) as disk:
        run = shutil.copytree(whole, disk / "run")
        _mount(disk, "remount,ro")
        reads: dict[str, list[str | Path]] = {
            "report": ["report", run, "--out", folder / "page.html"],
            "score": ["score", run],
            "leaderboard": ["leaderboard", run],
            "verify": ["verify", run],
        }
        for name, arguments in reads.items():
            ended = forked.run(arguments, folder)
            yield "a read-only folder is read", name, ended.problem if ended.code == 0 else f"exit code {ended.code}"
        writes: dict[str, list[str | Path]] = {
            "run": _run(disk / "out"),
            "resume": [*_run(run), "--resume"],
            "report": ["report", run],
            "purge": ["purge", run],
        }
        for name, arguments in writes.items():
            yield "a read-only folder is not written", name, _refusal(forked.run(arguments, folder), disk)
