"""Everything in a folder that can be scored: runs, queues of requests, evaluations and foreign eval logs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from efface.artifacts import ContinualResults, Record, Results, stream_records
from efface.errors import EffaceError
from efface.folders import CONFIG, MANIFEST, RESULTS, SCORES, SWEEP_TABLE, QueuePaths, RunPaths
from efface.frozen import FrozenModel
from efface.scores.definitions import Definition
from efface.scores.from_records import from_records
from efface.scores.from_tofu_log import read_log
from efface.scores.leaderboard.question_scores import SetValues, set_values
from efface.scores.leaderboard.ranking import ScoredModel, SourceType
from efface.scores.sets import ORDER, check_names, ordered

_RESULTS: TypeAdapter[Results | ContinualResults] = TypeAdapter(Results | ContinualResults)
_NO_LOGS = {SWEEP_TABLE}
"""What efface itself leaves beside runs: the table of a sweep."""


class UnreadableSource(FrozenModel):
    """Something that looks like a run or a log, and is none that can be scored."""

    path: str
    reason: str


@dataclass(frozen=True)
class Source:
    """Where one model's answers lie."""

    name: str
    path: Path
    """The folder of records, SET.jsonl, or a log."""
    kind: SourceType
    method: str | None = None


def find_sources(paths: Sequence[Path]) -> Iterator[Source | UnreadableSource]:
    """Look through folders, in the order of names; a path may also be a run or a log itself.

    What lies in a run's folder belongs to it, and folders with a dot in front are passed over. Names are paths within
    the folder, or whole ones where several are given.

    Raises `EffaceError` for a path that does not exist.
    """
    seen: set[Path] = set()
    for root in paths:
        if not root.exists():
            raise EffaceError(f"{root} does not exist; give a folder of runs and eval logs, a run or a log")
        for source in _log(root) if root.is_file() else _walk(root):
            place = Path(source.path).resolve()
            if place not in seen:
                seen.add(place)
                yield source if len(paths) > 1 or isinstance(source, UnreadableSource) else _within(source, root)


def read_source(source: Source, definition: Definition) -> ScoredModel:
    """Score every question of one model. Raises `EffaceError` where something is damaged or missing."""
    if source.kind == "log":
        sets = {name: set_values(name, rows, definition) for name, rows in read_log(source.path).items()}
    else:
        files = {file.stem: file for file in sorted(source.path.glob("*.jsonl"))}
        if not files:
            raise EffaceError(f"{source.path} holds no records (SET.jsonl); run the evaluation again")
        check_names(files, where=str(source.path))
        sets = {name: _read_set(name, file, definition) for name, file in files.items()}
    for what, models in (
        ("embedding model", {each for values in sets.values() for each in values.embedders}),
        ("judge", {each for values in sets.values() for each in values.judges}),
    ):
        if len(models) > 1:
            raise EffaceError(f"{source.path}: its records come from more than one {what}; evaluate all sets with one")
    return ScoredModel(
        name=source.name, kind=source.kind, method=source.method, sets={name: sets[name] for name in ordered(sets)}
    )


def before_source(source: Source) -> Source:
    """The model that a run started from. Raises `EffaceError` for what is no run."""
    folder = source.path.with_name("before")
    if source.kind not in ("run", "queue") or not folder.is_dir():
        raise EffaceError(f"{source.name} holds no model before unlearning; give two models, or a run")
    return replace(source, name=f"{source.name} (before)", path=folder, method=None)


def _walk(root: Path) -> Iterator[Source | UnreadableSource]:
    for here, inside, files in os.walk(root):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        found = _folder(Path(here), set(files))
        if found is not None:
            inside.clear()
            yield found
        elif "config.json" in files and any(name.endswith(".safetensors") for name in files):  # a model
            inside.clear()
        else:
            for name in sorted(files):
                if name.endswith(".json") and name not in _NO_LOGS:
                    yield from _log(Path(here) / name)


def _log(path: Path) -> Iterable[Source]:
    return [Source(str(path), path, "log")]


def _folder(path: Path, files: set[str]) -> Source | UnreadableSource | None:
    """What a folder is, by the files in it; None for one that is nothing by itself."""
    if RESULTS in files:
        return _run(path)
    if SCORES in files:
        return Source(str(path), RunPaths(path).records_root, "evaluation")
    if any(f"{name}.jsonl" in files for name in ORDER):
        return Source(str(path), path, "evaluation")
    if {CONFIG, MANIFEST} <= files:
        return UnreadableSource(
            path=str(path), reason="it is not finished, or its model was not evaluated (no results.json)"
        )
    return None


def _run(path: Path) -> Source | UnreadableSource:
    try:
        results = _RESULTS.validate_json(RunPaths(path).results.read_bytes())
    except (OSError, ValidationError):
        return UnreadableSource(path=str(path), reason="its results.json is damaged, or not that of a run")
    if isinstance(results, Results):
        return Source(str(path), RunPaths(path).records("after"), "run", results.method)
    last = QueuePaths(path).request(len(results.requests))
    return Source(str(path), last.records("after"), "queue", results.method)


def _within(source: Source, root: Path) -> Source:
    within = Path(source.name).relative_to(root)
    return replace(source, name=str(within) if within.parts else root.resolve().name)


def _read_set(name: str, file: Path, definition: Definition) -> SetValues:
    asked: dict[str, str] = {}

    def records() -> Iterator[Record]:
        for record in stream_records(file):
            asked[record.id] = record.question
            yield record

    return set_values(name, from_records(name, records(), where=str(file)), definition, asked)
