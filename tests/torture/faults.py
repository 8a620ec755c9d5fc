"""Faults around a command: two at once, a folder that is moved, a clock that jumps, numbers that are not finite."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import forked
import hostile
from forked import refusal
from victims import EVALUATE, TINY, Command, Try, differences, ready

_DAY = 86_400.0


def tries(folder: Path, made: Mapping[str, Command]) -> Iterator[Try]:
    """Provoke each fault.

    Args:
        folder: An empty folder.
        made: The commands by name.
    """
    run = made["run"]
    fault = "two at once in one folder"
    for name in ("method=me", "seed=5"):
        yield fault, f"run, another with {name}", partial(_two_at_once, folder, run, name)
    for name, command in made.items():
        yield fault, name, partial(_two_at_once, folder, command)
    for name, command in made.items():
        if command.copied is None:
            yield "a finished folder is moved, then read", name, partial(_moved, folder, command)
    for name, jump in (("forwards", _DAY), ("backwards", -_DAY)):
        for victim in ("run", "tune"):
            yield (
                "a clock that jumps by a day at each look",
                f"{victim}, {name}",
                partial(_clock_jumps, folder, made[victim], jump),
            )
    for method in ("me+gd", "ga+gd", "npo+kl", "dpo+gd", "idk+ap"):
        yield "losses that are not finite", method, partial(_overflow, folder, method)
    for name in ("run", "finetune", "evaluate"):
        yield "weights that are not finite", name, partial(_nan_weights, folder, made[name])


def _two_at_once(folder: Path, command: Command, *other: str) -> str | None:
    """One holds the folder; the other is refused, or is told to join the search of the first."""
    expected = command.whole(folder)
    out, places = folder / "out", [folder / "first", folder / "second"]
    ready(command, out)
    for place in places:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    waiting = [
        forked.start([*command.start(out), *more], place) for more, place in zip(((), other), places, strict=True)
    ]
    ends = [wait(600) for wait in waiting]
    codes = [ended.code for ended in ends]
    if codes != [0, 0] or not command.is_shared:
        if sorted(map(str, codes)) != ["0", "2"]:
            return f"exit codes {codes}"
        if problem := refusal(ends[codes.index(2)], out):
            return problem
    return None if other and codes.index(0) == 1 else differences(command.outcome(out), expected)


def _moved(folder: Path, command: Command) -> str | None:
    """What reads the folder finds all in it, and the command finds that nothing is left to do."""
    expected = command.whole(folder)
    out, moved = folder / "out", folder / "elsewhere" / "moved"
    shutil.rmtree(moved.parent, ignore_errors=True)
    ready(command, out)
    ended = forked.run(command.start(out), folder)
    moved.parent.mkdir()
    out.rename(moved)
    for arguments in (["verify", moved], command.resume(moved)):
        ended = forked.run(arguments, folder)
        if ended.code != 0:
            return f"{arguments[0]}: exit code {ended.code}: {ended.stderr.strip()[-200:]}"
    return differences(command.outcome(moved), expected)


def _clock_jumps(folder: Path, command: Command, jump: float) -> str | None:
    def prepare() -> None:
        real, calls = time.time, iter(range(10**9))
        time.time = lambda: real() + jump * next(calls)

    expected = command.whole(folder)
    out = folder / "out"
    ready(command, out)
    ended = forked.run(command.start(out), folder, prepare=prepare)
    if ended.code != 0:
        return f"exit code {ended.code}: {ended.stderr.strip()[-200:]}"
    return differences(command.outcome(out), expected)


def _overflow(folder: Path, method: str) -> str | None:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    arguments = ["run", f"method={method}", *TINY, *EVALUATE, "train.lr=1e25", "--out", out]
    problem = refusal(forked.run(arguments, folder), "not finite", "train.lr")
    return "a model was saved" if (out / "model").exists() else problem


def _nan_weights(folder: Path, command: Command) -> str | None:
    from safetensors.torch import load_file, save_file

    out, model = folder / "out", folder / "nan"
    for path in (out, model):
        shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(hostile.MODEL, model)
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    problem = refusal(forked.run([*command.start(out), f"model={model}"], folder), "not finite", model)
    return "something was written" if out.exists() else problem
