"""Files of a folder are damaged, then read: one bit is flipped, the second half or everything is missing."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import forked
import interrupted
from forked import refusal
from victims import Command, Try, differences, ready

_SUMMED = ("model", "records", "audit", "results.json", "config.yaml")
"""What the manifest has sums of."""
_STUDY = "search/study.jsonl"
_CONTINUED = {
    "run": ("evaluating/*/*", "records/*/*", "manifest.json", "config.yaml", "metrics.jsonl"),
    "sweep": ("runs.jsonl",),
    "tune": (_STUDY, "search/tune.json", "search/manifest.json", "search/records/*/*"),
    "audit": ("audit/.rows.jsonl.partial", "manifest.json", "records/before/forget.jsonl"),
}
"""Command -> files that its continuation reads."""


def tries(folder: Path, made: Mapping[str, Command], seed: int) -> Iterator[Try]:
    """Damage files.

    Args:
        folder: An empty folder.
        made: The commands by name.
        seed: Of the damage.
    """
    ways = _ways(random.Random(seed))
    whole = folder / "audited"
    ready(made["audit"], whole)
    ended = forked.run(made["audit"].start(whole), folder)
    assert ended.code == 0, ended.stderr
    for path in sorted(path for path in whole.rglob("*") if path.is_file()):
        name = path.relative_to(whole)
        if name.parts[0] in _SUMMED:
            for way, change in ways.items():
                what = f"{name}, {way}"
                yield "a damaged file of a finished run is found", what, partial(_found, folder, whole, name, change)
    cut = folder / "cut"
    _kill(made["run"], cut, folder, lambda: bool([*cut.glob("checkpoints/step-*")]))
    for path in sorted(path for path in cut.glob("checkpoints/step-*/*") if path.is_file()):
        for way, change in ways.items():
            work = partial(_refused, made["run"], folder, cut, path.relative_to(cut), change)
            yield "a damaged checkpoint is refused", f"{path.name}, {way}", work
    for name, patterns in _CONTINUED.items():
        yield from _continued(folder, name, made[name], patterns, ways)


def _continued(
    folder: Path, name: str, command: Command, patterns: tuple[str, ...], ways: Mapping[str, Callable[[Path], object]]
) -> Iterator[Try]:
    """Kill a command when one of the files is there, damage it, and continue."""
    for pattern in patterns:
        cut = folder / f"{name}-cut"
        _kill(command, cut, folder, lambda cut=cut, pattern=pattern: any(map(_has_content, cut.glob(pattern))))
        for path in sorted(cut.glob(pattern))[:2]:
            for way, change in ways.items():
                work = partial(_continues, command, folder, cut, path.relative_to(cut), change)
                yield "a damaged file is continued from", f"{name}, {path.relative_to(cut)}, {way}", work


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _ways(random_: random.Random) -> dict[str, Callable[[Path], object]]:
    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[random_.randrange(len(content))] ^= 1 << random_.randrange(8)
        path.write_bytes(content)

    return {
        "a flipped bit": flip,
        "half": lambda path: os.truncate(path, path.stat().st_size // 2),
        "emptied": lambda path: os.truncate(path, 0),
    }


def _kill(command: Command, out: Path, folder: Path, when: Callable[[], bool]) -> None:
    """Kill a command at its first write at which something is true."""
    ready(command, out)
    killed = interrupted.watch(out, lambda _: os.kill(os.getpid(), signal.SIGKILL) if when() else None)
    ended = forked.run(command.start(out), folder, prepare=killed)
    assert ended.code == -signal.SIGKILL, (ended.code, ended.stderr)


def _copy(source: Path, folder: Path, name: Path, change: Callable[[Path], object]) -> Path:
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(source, copy)
    change(copy / name)
    return copy


def _found(folder: Path, whole: Path, name: Path, change: Callable[[Path], object]) -> str | None:
    ended = forked.run(["verify", _copy(whole, folder, name, change)], folder)
    found = str(name) in (folder / "stdout").read_text(encoding="utf-8") + ended.stderr
    return None if ended.code == 1 and found else f"verify: exit code {ended.code}, named: {found}"


def _refused(command: Command, folder: Path, cut: Path, name: Path, change: Callable[[Path], object]) -> str | None:
    copy = _copy(cut, folder, name, change)
    return refusal(forked.run(command.resume(copy), folder), name.parent.name)


def _continues(command: Command, folder: Path, cut: Path, name: Path, change: Callable[[Path], object]) -> str | None:
    """The command names the file, or leaves what it leaves without the damage."""
    copy = _copy(cut, folder, name, change)
    ended = forked.run(command.resume(copy), folder)
    if ended.code == 2:
        return refusal(ended, name.name)
    if ended.code != 0:
        return f"exit code {ended.code}: {ended.stderr.strip()[-200:]}"
    return differences(command.outcome(copy), command.whole(folder))
