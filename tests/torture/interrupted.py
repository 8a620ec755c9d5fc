"""Commands that are killed, terminated or moved at a random moment and continued: nothing comes out otherwise."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import forked
import hostile
import yaml

from efface.config.commands import RunConfig
from efface.config.parse import parse_pairs

_WRITES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir"}
TINY = (
    f"model={hostile.MODEL}",
    "text.format=plain",
    "device=cpu",
    "data=synthetic-authors",
    "data.authors=4",
    "data.forget_authors=1",
    "data.retain_evaluation=3",
    "train.epochs=2",
    "train.batch_size=8",
    "train.lr=1e-3",
    "train.save_steps=2",
)
EVALUATE = ("evaluate.max_new_tokens=3", "evaluate.limit=3", "evaluate.embedder=none", "evaluate.judge=none")


@dataclass(frozen=True)
class Command:
    """A command that writes to a folder, and how it is continued."""

    start: Callable[[Path], list[str | Path]]
    resume: Callable[[Path], list[str | Path]]
    copied: Path | None = None
    """The folder that it starts in, which is copied; None for a new one."""


def commands(folder: Path) -> dict[str, Command]:
    """The commands by name.

    Args:
        folder: For files that they need.
    """

    def resumable(name: str, *settings: str) -> Command:
        return Command(
            lambda out: [name, *settings, "--out", out], lambda out: [name, *settings, "--out", out, "--resume"]
        )

    queue = folder / "queue.yaml"
    queue.write_text("continual: {requests: [1, 2], keep_models: last}\n", encoding="utf-8")
    sweep = folder / "sweep.yaml"
    spec = {"settings": parse_pairs([*TINY, *EVALUATE], RunConfig), "grid": {"method": ["ga+gd", "me"]}}
    sweep.write_text(yaml.safe_dump(spec), encoding="utf-8")
    started = folder / "started"
    ended = forked.run(["run", queue, "method=me+gd", *TINY, *EVALUATE, "--out", started], folder)
    assert ended.code == 0, ended.stderr
    same = Command(lambda out: ["sweep", sweep, "--out", out], lambda out: ["sweep", sweep, "--out", out])
    add = Command(lambda out: ["request", "add", out, "3"], lambda out: ["request", "add", out, "3"], copied=started)
    return {
        "run": resumable("run", "method=npo+kl", *TINY, *EVALUATE),
        "run with adapters": resumable("run", "method=idk+ap", "train.lora=true", *TINY, *EVALUATE),
        "queue": resumable("run", str(queue), "method=me+gd", *TINY, *EVALUATE),
        "request add": add,
        "finetune": resumable("finetune", *TINY),
        "evaluate": resumable("evaluate", *(each for each in TINY if not each.startswith("train")), *EVALUATE),
        "sweep": same,
    }


def outcome(folder: Path) -> dict[str, object]:
    """Everything that a command leaves, except times and what names folders."""
    files: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or path.name.startswith(".") or path.suffix in (".md", ".html"):
            continue
        if path.name in ("manifest.json", "runs.jsonl", "table.json", "config.yaml"):
            files[name] = "there"
        elif path.name == "metrics.jsonl":
            lines = path.read_text(encoding="utf-8").splitlines()
            files[name] = [{**json.loads(line), "seconds": None} for line in lines]
        else:
            files[name] = path.read_bytes()
    return files


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
    for name, command in made.items():
        whole = folder / f"{name.replace(' ', '-')}-whole"
        if command.copied is not None:
            shutil.copytree(command.copied, whole)
        writes = _count_writes(command, whole, folder)
        expected = outcome(whole)
        share = max(1, count // len(made))
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
    found = outcome(moved)
    different = sorted(each for each in {*found, *expected} if found.get(each) != expected.get(each))
    return f"other files: {', '.join(different[:5])}" if different else None
