"""Find everything in a folder that can be scored: runs, queues of requests, evaluations and eval logs of other code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from efface.artifacts import ContinualResults, Results, Verdict
from efface.artifacts.audit import AuditResults
from efface.artifacts.saved_manifest import is_fine_tuning, lost_records_by_purge
from efface.errors import EffaceError
from efface.files.folders import CONFIG, MANIFEST, RESULTS, SCORES, SWEEP_TABLE, QueuePaths, RunPaths
from efface.files.sums import file_sum, read_checked
from efface.frozen import FrozenModel
from efface.records import Record, stream_records
from efface.scores.definitions import Definition
from efface.scores.inputs.eval_logs import read_log
from efface.scores.inputs.from_records import from_records
from efface.scores.leaderboard.question_scores import SetValues, set_values
from efface.scores.leaderboard.ranking import ScoredModel, SourceType
from efface.scores.sets import MEMBERSHIP_SETS, ORDER, check_names, sort_names

_RESULTS: TypeAdapter[Results | ContinualResults] = TypeAdapter(Results | ContinualResults)
_EVAL, _SUMMARY = "_EVAL.json", "_SUMMARY.json"
"""How names of open-unlearning's results end."""
_NOT_LOGS = {SWEEP_TABLE}
"""JSON files that efface writes next to runs: the table of a sweep."""


class UnreadableSource(FrozenModel):
    """Something that looks like a run or an eval log and cannot be scored."""

    path: str
    reason: str


@dataclass(frozen=True)
class Source:
    """Where one model's outputs are stored."""

    name: str
    path: Path
    """A folder of records (SET.jsonl), or an eval log."""
    kind: SourceType
    method: str | None = None
    verdict: Verdict | None = None
    """On a run; None in earlier versions."""
    audit: AuditResults | None = None
    """What `efface audit` found in it."""


def find_sources(paths: Sequence[Path]) -> Iterator[Source | UnreadableSource]:
    """Search folders, in the order of names.

    Everything in a run's folder belongs to the run; folders whose names start with a dot and finished fine-tunings,
    which have no scores, are skipped.

    Args:
        paths: Folders to search, runs or eval logs.

    Yields:
        What was found. Names of sources are paths relative to the folder, or complete ones if there are several paths.

    Raises:
        EffaceError: When a path does not exist.
    """
    seen: set[Path] = set()
    for root in paths:
        if not root.exists():
            raise EffaceError(f"{root} does not exist; give a folder of runs and eval logs, a run or a log")
        for source in _log(root) if root.is_file() else _walk(root):
            resolved = Path(source.path).resolve()
            if resolved not in seen:
                seen.add(resolved)
                yield source if len(paths) > 1 or isinstance(source, UnreadableSource) else _relative(source, root)


def read_source(source: Source, definition: Definition) -> ScoredModel:
    """Score every question of one model.

    Args:
        source: Where its outputs are stored.
        definition: The score definition.

    Returns:
        The model with the scores of its questions, without sets that only tell members from unseen items: their scores
        rank nothing, and the logs of other code do not have them.

    Raises:
        EffaceError: When something is damaged or missing, or its sets have different embedding models or judges.
    """
    if source.kind == "log":
        sets = {name: set_values(name, rows, definition) for name, rows in read_log(source.path).items()}
    else:
        files = {file.stem: file for file in sorted(source.path.glob("*.jsonl"))}
        if not files:
            raise EffaceError(f"{source.path} holds no records (SET.jsonl); run the evaluation again")
        check_names(files, where=str(source.path))
        sets = {name: _read_set(name, file, definition) for name, file in files.items()}
    for model_type, models in (
        ("embedding model", {each for values in sets.values() for each in values.embedders}),
        ("judge", {each for values in sets.values() for each in values.judges}),
    ):
        if len(models) > 1:
            raise EffaceError(
                f"{source.path}: its records come from more than one {model_type}; evaluate all sets with one"
            )
    return ScoredModel(
        name=source.name,
        kind=source.kind,
        method=source.method,
        verdict=source.verdict,
        audit=source.audit,
        sets={name: sets[name] for name in sort_names(sets) if name not in MEMBERSHIP_SETS},
    )


def before_source(source: Source) -> Source:
    """Find the model that a run started from.

    Args:
        source: The run, or the queue of requests.

    Returns:
        Where its outputs are stored.

    Raises:
        EffaceError: When `source` is not a run.
    """
    folder = source.path.with_name("before")
    if source.kind not in ("run", "queue") or not folder.is_dir():
        raise EffaceError(f"{source.name} has no model before unlearning; give two models, or a run")
    return Source(f"{source.name} (before)", folder, "before")


def with_before_sources(found: Iterable[Source | UnreadableSource]) -> list[Source | UnreadableSource]:
    """Add the models that runs started from.

    Args:
        found: What `find_sources` found; only runs and queues have such a model.

    Returns:
        The same, and each model before unlearning once: runs from one model have the same records before, and an
        evaluation with these records is that model. A single one has no run in its name.
    """
    result = list(found)
    models: dict[tuple[str, ...], Source] = {}
    for source in result:
        if isinstance(source, Source) and source.kind in ("run", "queue"):
            folder = source.path.with_name("before")
            if folder.is_dir():
                models.setdefault(_content(folder), before_source(source))
    is_single = len(models) == 1
    for place, source in enumerate(result):
        if models and isinstance(source, Source) and source.kind == "evaluation":
            evaluated = models.pop(_content(source.path), None)
            result[place] = source if evaluated is None else replace(source, kind="before")
    return [*result, *(replace(each, name="before unlearning") if is_single else each for each in models.values())]


def _content(folder: Path) -> tuple[str, ...]:
    """What is equal for equal records; of records that cannot be read, which `read_source` reports, their folder."""
    try:
        return tuple(f"{file.name} {file_sum(file)}" for file in sorted(folder.glob("*.jsonl")))
    except (OSError, EffaceError):
        return (str(folder),)


def _walk(root: Path) -> Iterator[Source | UnreadableSource]:
    for path, subfolders, files in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if MANIFEST in files and is_fine_tuning(Path(path)):
            subfolders.clear()
            continue
        source = _folder(Path(path), set(files))
        if source is not None:
            subfolders.clear()
            yield source
        elif "config.json" in files and any(name.endswith(".safetensors") for name in files):  # a model
            subfolders.clear()
        else:
            for name in sorted(files):
                if name.endswith(".json") and name not in _NOT_LOGS and not _is_summarized(name, files):
                    yield from _log(Path(path) / name)


def _is_summarized(name: str, files: Sequence[str]) -> bool:
    """Whether a file of open-unlearning has the aggregates of another one in its folder."""
    return name.endswith(_SUMMARY) and name.removesuffix(_SUMMARY) + _EVAL in files


def _log(path: Path) -> Iterable[Source]:
    return [Source(str(path), path, "log")]


def _folder(path: Path, files: set[str]) -> Source | UnreadableSource | None:
    """The source that a folder is, by the files in it; None if it is none."""
    if MANIFEST in files and lost_records_by_purge(path):
        return UnreadableSource(path=str(path), reason="it was purged: its records are gone")
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
        results = _RESULTS.validate_json(read_checked(RunPaths(path).results))
    except (OSError, ValidationError):
        return UnreadableSource(path=str(path), reason="its results.json is damaged, or was not written by a run")
    if isinstance(results, Results):
        return Source(str(path), RunPaths(path).records("after"), "run", results.method, results.verdict, results.audit)
    last = QueuePaths(path).request(len(results.requests))
    return Source(str(path), last.records("after"), "queue", results.method, results.verdict)


def _relative(source: Source, root: Path) -> Source:
    path = Path(source.name).relative_to(root)
    return replace(source, name=str(path) if path.parts else root.resolve().name)


def _read_set(name: str, file: Path, definition: Definition) -> SetValues:
    questions: dict[str, str] = {}

    def records() -> Iterator[Record]:
        for record in stream_records(file):
            questions[record.id] = record.question
            yield record

    return set_values(name, from_records(name, records(), where=str(file)), definition, questions)
