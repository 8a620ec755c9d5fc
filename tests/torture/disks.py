"""Disks that are full, or cannot be written: small file systems in memory, where the user may mount them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import forked
from forked import refusal
from victims import Command, Try, differences, ready

_SHARES = (0.2, 0.4, 0.6, 0.8, 0.95)
"""Of the space that a command takes in all: it fills such disks in different phases."""
_LARGE = "100m"


def tries(folder: Path, made: Mapping[str, Command]) -> Iterator[Try]:
    """Fill disks, and write to disks that cannot be written.

    Args:
        folder: An empty folder.
        made: The commands by name.
    """
    if not _can_mount(folder):
        return
    for name, command in made.items():
        for share in _SHARES:
            yield "a full disk, then more space", f"{name}, {share:.0%}", partial(_full, folder, command, share)
    whole = folder / "run"
    ended = forked.run(made["run"].start(whole), folder)
    assert ended.code == 0, ended.stderr
    reads: dict[str, list[str | Path]] = {"report": ["--out", folder / "page.html"]}
    for name in ("report", "score", "leaderboard", "verify"):
        work = partial(_read_only, folder, whole, name, reads.get(name, []), written=False)
        yield "a read-only folder is read", name, work
    for name in ("report", "purge", "audit"):
        yield "a read-only folder is not written", name, partial(_read_only, folder, whole, name, [], written=True)
    for name, command in made.items():
        yield "a read-only folder is not written", name, partial(_not_started, folder, command)


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


def _kib(folder: Path) -> int:
    return sum(4 + path.stat().st_size // 1024 for path in folder.rglob("*") if path.is_file())


def _full(folder: Path, command: Command, share: float) -> str | None:
    """A sentence says that space is missing; with more of it, the command goes on as if nothing had been."""
    expected = command.whole(folder)
    whole = folder / "whole"
    before = 0 if command.copied is None else _kib(command.copied)
    size = before + int(share * (_kib(whole) - before)) + 4
    with _mounted(folder, f"{size}k") as disk:
        out = disk / "out"
        ready(command, out)
        ended = forked.run(command.start(out), folder)
        if ended.code != 0:
            told = ended.stderr + (folder / "stdout").read_text(encoding="utf-8")  # a sweep goes on, and lists failures
            problem = ended.problem if ended.code == 2 else None if command.goes_on else f"exit code {ended.code}"
            if problem or "space" not in told:
                return f"{problem}: {told.strip()[-200:]}"
            _mount(disk, f"remount,size={_LARGE}")
            is_begun = out.exists() and any(out.iterdir())
            ended = forked.run(command.resume(out) if is_begun else command.start(out), folder)
            if ended.code != 0:
                return f"not continued: {ended.stderr.strip()[-200:]}"
        return differences(command.outcome(out), expected)


def _read_only(folder: Path, whole: Path, name: str, more: list[str | Path], *, written: bool) -> str | None:
    with _mounted(folder, _LARGE) as disk:
        run = shutil.copytree(whole, disk / "run")
        _mount(disk, "remount,ro")
        ended = forked.run([name, run, *more], folder)
    if written:
        return refusal(ended, disk)
    return ended.problem if ended.code == 0 else f"exit code {ended.code}"


def _not_started(folder: Path, command: Command) -> str | None:
    with _mounted(folder, _LARGE) as disk:
        ready(command, disk / "out")
        _mount(disk, "remount,ro")
        return refusal(forked.run(command.start(disk / "out"), folder), disk)
