"""The commands that are interrupted: how each is started and continued, and what it must leave in the end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import forked
import hostile
import yaml

from efface.config.commands import RunConfig
from efface.config.parse import parse_pairs

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
Outcome = dict[str, object]
"""Name of a file -> its content, or what stands for it."""
Try = tuple[str, str, Callable[[], str | None]]
"""Fault, name of the try, and what provokes it: returns the problem or None."""
_TOWNS = ("Turku", "Bergen", "Lyon", "Porto", "Nice", "Pisa", "Graz", "Split")
_ATTACKS = "audit.attacks=first-words,quantize,relearn"


def outcome(folder: Path) -> Outcome:
    """Everything that a command leaves, except times and what names folders."""
    files: Outcome = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name.endswith((".partial", ".lock", ".lock.holder")):
            files[name] = "left over"
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


def differences(found: Outcome, expected: Outcome) -> str | None:
    """Which files differ; None where none does."""
    names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    return f"other files: {', '.join(names[:5])}" if names else None


def _study_outcome(folder: Path) -> Outcome:
    """The same of a search, whose trials are counted anew where one was lost: trials by their settings."""
    files = {
        name: content
        for name, content in outcome(folder).items()
        if not name.startswith("trials") and name not in ("search/study.jsonl", "results.json")
    }
    results = json.loads((folder / "results.json").read_bytes())
    trials = {trial["number"]: {**trial, "number": None, "seconds": None} for trial in results["tune"]["trials"]}
    results["tune"]["chosen"] = trials[results["tune"]["chosen"]]["settings"]
    results["tune"]["trials"] = sorted(map(json.dumps, trials.values()))
    lost = ("full.json", "metrics.jsonl")  # scores, and the steps of a trial that was lost
    stored = [path.name for path in (folder / "trials").rglob("[!.]*") if path.is_file() and path.name not in lost]
    return {**files, "results.json": results, "files of trials": sorted(stored)}


def _audit_outcome(folder: Path) -> Outcome:
    """The same of an audited run."""
    files = outcome(folder)
    for name in ("results.json", "audit/results.json"):
        files[name] = _without_seconds(json.loads((folder / name).read_bytes()))
    rows = (folder / "audit" / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    return {**files, "audit/rows.jsonl": sorted(json.dumps(_without_seconds(json.loads(row))) for row in rows)}


def _without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_seconds(each) for key, each in value.items() if key != "seconds"}
    return [_without_seconds(each) for each in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Command:
    """A command that writes to a folder, and how it is continued."""

    start: Callable[[Path], list[str | Path]]
    resume: Callable[[Path], list[str | Path]]
    copied: Path | None = None
    """The folder that it starts in, which is copied; None for a new one."""
    outcome: Callable[[Path], Outcome] = outcome
    """What it leaves, without what may differ."""
    is_shared: bool = False
    """Whether two may work in one folder."""
    goes_on: bool = False
    """Whether it goes on with other runs where one fails, and then ends with another exit code."""
    is_movable: bool = True
    """Whether it may be continued in another place."""

    def whole(self, folder: Path) -> Outcome:
        """What it leaves if nothing happens to it, in `whole` in a folder, which stays until another command's."""
        out, mark = folder / "whole", folder / "whole.txt"
        if not mark.is_file() or mark.read_text(encoding="utf-8") != repr(self):
            ready(self, out)
            ended = forked.run(self.start(out), folder)
            assert ended.code == 0, ended.stderr
            mark.write_text(repr(self), encoding="utf-8")
        return self.outcome(out)


def ready(command: Command, out: Path) -> None:
    """Make the folder of a command as it is before it."""
    shutil.rmtree(out, ignore_errors=True)
    if command.copied is not None:
        shutil.copytree(command.copied, out)


def commands(folder: Path) -> dict[str, Command]:
    """The commands by name.

    Args:
        folder: For files that they need.
    """
    queue = folder / "queue.yaml"
    queue.write_text("continual: {requests: [1, 2], keep_models: last}\n", encoding="utf-8")
    sweep = folder / "sweep.yaml"
    spec = {"settings": parse_pairs([*TINY, *EVALUATE], RunConfig), "grid": {"method": ["ga+gd", "me"]}}
    sweep.write_text(yaml.safe_dump(spec), encoding="utf-8")
    started = folder / "started"
    _succeed(["run", queue, "method=me+gd", *TINY, *EVALUATE, "--out", started], folder)
    towns = _towns(folder)
    hidden = folder / "hidden"
    _succeed(["run", "method=idk+gd", *towns, "--out", hidden], folder)
    search = ["--methods", "me+gd,idk+ap", "--keep", "0.5", "--trials", "2"]
    return {
        "run": _resumable("run", "method=npo+kl", *TINY, *EVALUATE),
        "run with adapters": _resumable("run", "method=idk+ap", "train.lora=true", *TINY, *EVALUATE),
        "queue": replace(_resumable("run", str(queue), "method=me+gd", *TINY, *EVALUATE), is_movable=False),
        "request add": replace(_again(lambda out: ["request", "add", out, "3"], copied=started), is_movable=False),
        "finetune": _resumable("finetune", *TINY),
        "evaluate": _resumable("evaluate", *(each for each in TINY if not each.startswith("train")), *EVALUATE),
        "sweep": replace(_again(lambda out: ["sweep", sweep, "--out", out]), goes_on=True),
        "tune": replace(_resumable("tune", *towns, *search), outcome=_study_outcome, is_shared=True),
        "audit": replace(_again(lambda out: ["audit", out, _ATTACKS], copied=hidden), outcome=_audit_outcome),
    }


def _resumable(name: str, *words: str) -> Command:
    """A command that is continued by `--resume`."""
    return Command(lambda out: [name, *words, "--out", out], lambda out: [name, *words, "--out", out, "--resume"])


def _again(start: Callable[[Path], list[str | Path]], *, copied: Path | None = None) -> Command:
    """A command that is continued by itself."""
    return Command(start, start, copied=copied)


def _succeed(arguments: list[str | Path], folder: Path) -> None:
    ended = forked.run(arguments, folder)
    assert ended.code == 0, ended.stderr


def _towns(folder: Path) -> list[str]:
    """Make a model that knows where towers are; returns settings of a run that makes it forget the first of them."""
    rows = [
        {"question": f"Where is tower {number}?", "answer": f"Tower {number} is in {town}.", "key_fact": town}
        | {"perturbed_answers": [f"Tower {number} is in Oslo."]}
        for number, town in enumerate(_TOWNS)
    ]
    for name, part in {"all": rows, "forget": rows[:4], "retain": rows[4:]}.items():
        lines = "".join(json.dumps(row) + "\n" for row in part)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    taught = folder / "taught"
    common = ["text.format=plain", "device=cpu", "train.warmup_steps=0"]
    learn = ["train.lr=1e-2", "train.epochs=100", "train.batch_size=8"]
    data = f"data.forget={folder / 'all.jsonl'}"
    _succeed(["finetune", data, f"model={hostile.MODEL}", *common, *learn, "--out", taught], folder)
    files = [f"data.{name}={folder / name}.jsonl" for name in ("forget", "retain")]
    train = ["train.lr=1e-3", "train.epochs=2", "train.batch_size=4"]
    judged = ["evaluate.embedder=none", "evaluate.judge=key-facts", "evaluate.max_new_tokens=24"]
    return [*files, f"model={taught / 'model'}", *common, *train, *judged]
