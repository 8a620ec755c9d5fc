"""A run's folder, finished or not, read for a report. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from efface.artifacts import ContinualResults, EpochScores, Manifest, Record, Results, Scores, read_records
from efface.errors import EffaceError
from efface.folders import STAGES, QueuePaths, RunPaths, epoch_stage
from efface.report.page.loss_curve import Step, read_steps
from efface.scores.continual import continual_results
from efface.scores.score import score_records
from efface.scores.sets import check_names

Records = dict[str, list[Record]]
"""Set name -> one record a question."""

_Read = TypeVar("_Read", bound=BaseModel)


@dataclass(frozen=True)
class ReportRun:
    """What lies in a folder of `efface run` or `efface evaluate`; what is not there yet is empty."""

    path: Path
    kind: Literal["run", "queue", "evaluation"]
    """An evaluation scores one model: its scores are `after`, and there is nothing before."""
    definition: str
    settings: str
    """The text of config.yaml."""
    method: str | None = None
    manifest: Manifest | None = None
    unfinished: str | None = None
    """What is still to come, in words; None for a complete run."""
    before: Scores | None = None
    after: Scores | None = None
    results: Results | ContinualResults | None = None
    epochs: Sequence[EpochScores] = ()
    steps: Sequence[Step] = ()
    records: Mapping[str, Records] = field(default_factory=dict)
    """`before` and `after`, as far as they are there."""

    @property
    def queue(self) -> ContinualResults | None:
        """The results of a queue of requests."""
        return self.results if isinstance(self.results, ContinualResults) else None


def load_report_run(path: Path) -> ReportRun:
    """Read what lies in the folder. Raises `EffaceError` for what is no run, damaged, or has nothing to show yet."""
    if not path.is_dir():
        wrong = "is a file" if path.exists() else "does not exist"
        raise EffaceError(f"{path} {wrong}; give the folder of a run, which --out named")
    settings, text = _settings(path)
    definition = settings.get("definition")
    if not isinstance(definition, str):
        raise EffaceError(
            f"{RunPaths(path).config} names no definition of scores; give the folder of a run that unlearns"
        )
    method = settings.get("method")
    start = ReportRun(path=path, kind="run", definition=definition, settings=text, manifest=_manifest(path))
    if not isinstance(method, str):
        return _evaluation(start)
    run = (_queue if settings.get("continual") else _run)(replace(start, method=method))
    if not (run.before or run.after or run.steps):
        raise EffaceError(f"{path} has measured nothing yet; look again once the run has evaluated or trained")
    return run


def _settings(path: Path) -> tuple[dict[str, Any], str]:
    file = RunPaths(path).config
    if not file.is_file():
        inside = sorted(each.name for each in path.iterdir() if RunPaths(each).config.is_file())
        hint = f"; runs lie in it, give one or more of them: {', '.join(inside[:5])}" if inside else ""
        raise EffaceError(f"{path} holds no config.yaml, so it is no run of efface{hint or '; give the folder of one'}")
    try:
        text = file.read_text(encoding="utf-8")
        settings = yaml.safe_load(text)
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise EffaceError(f"{file} is damaged; copy the run again, or repeat it") from error
    if not isinstance(settings, dict):
        raise EffaceError(f"{file} holds no settings; give the folder of a run of efface")
    return settings, text


def _evaluation(start: ReportRun) -> ReportRun:
    path = start.path
    values = _json(RunPaths(path).scores)
    if values is None:
        raise EffaceError(
            f"{path} holds neither a run that unlearns nor scores of efface evaluate; evaluate its model first"
        )
    scores = _valid(Scores, RunPaths(path).scores, {name: values.get(name) for name in Scores.model_fields})
    return replace(start, kind="evaluation", after=scores, records={"after": _records(RunPaths(path).records_root)})


def _run(start: ReportRun) -> ReportRun:
    paths = RunPaths(start.path)
    records: dict[str, Records] = {stage: _records(paths.records(stage)) for stage in STAGES}
    found = replace(start, steps=read_steps(paths.metrics), records=records)
    values = _json(paths.results)
    if values is None:
        return _so_far(found)
    results = _valid(Results, paths.results, values)
    epochs = results.trajectory.epochs if results.trajectory else ()
    return replace(found, before=results.before, after=results.after, results=results, epochs=epochs)


def _so_far(found: ReportRun) -> ReportRun:
    before, after = (
        score_records(records, found.definition) if (records := found.records[stage]) else None for stage in STAGES
    )
    return replace(
        found,
        before=before,
        after=after,
        epochs=_epochs(RunPaths(found.path), found.definition, found.steps),
        unfinished=_to_come(found),
    )


def _to_come(found: ReportRun) -> str:
    if RunPaths(found.path).model.is_dir() and not found.records["before"]:
        return "The model was not scored; efface evaluate can do that."
    if found.steps and found.steps[-1].step < found.steps[-1].steps:
        return f"Step {found.steps[-1].step} of {found.steps[-1].steps} was the last one when this report was made."
    return "It was trained, and scores are still to come." if found.steps else "Training had not begun."


def _epochs(paths: RunPaths, definition: str, steps: Sequence[Step]) -> list[EpochScores]:
    folder = paths.records(epoch_stage(1)).parent
    numbers = sorted(int(each.name) for each in folder.glob("*") if each.name.isdecimal())
    found = []
    for number in numbers:
        if records := _records(paths.records(epoch_stage(number))):
            scores = score_records(records, definition)
            found.append(EpochScores(epoch=number, step=steps[-1].step if steps else 0, scores=scores))
    return found


def _queue(start: ReportRun) -> ReportRun:
    paths = QueuePaths(start.path)
    requests = paths.requests()
    done = [each for each in requests if each.results.is_file()]
    first = _records(paths.records("before"))
    last: dict[str, Records] = {stage: _records(done[-1].records(stage)) for stage in STAGES} if done else {}
    values = _json(paths.results)
    whole = _so_far_of_queue(start, done, first) if values is None else _valid(ContinualResults, paths.results, values)
    before = score_records(first, start.definition) if whole is None and first else None
    return replace(
        start,
        kind="queue",
        before=before if whole is None else whole.before,
        after=None if whole is None else whole.after[-1],
        results=whole,
        steps=[step for each in requests for step in read_steps(each.metrics)],
        records=last or {"before": first, "after": {}},
        unfinished=None if values is not None else f"Requests done when this report was made: {len(done)}.",
    )


def _so_far_of_queue(start: ReportRun, done: Sequence[RunPaths], first: Records) -> ContinualResults | None:
    """The results of the requests that are through, as far as the first model was asked."""
    known = [each for number, each in enumerate(done, 1) if f"forgotten-{number}" in first]
    results = [_valid(Results, each.results, _json(each.results) or {}) for each in known]
    names = [f"request {number}" for number in range(1, len(results) + 1)]
    return continual_results(results, first, names, start.definition) if results else None


def _manifest(path: Path) -> Manifest | None:
    file = RunPaths(path).manifest
    values = _json(file)
    return None if values is None else _valid(Manifest, file, values)


def _json(file: Path) -> dict[str, Any] | None:
    """The object in a file; None where the file is not there."""
    if not file.is_file():
        return None
    try:
        values = json.loads(file.read_bytes())
    except ValueError as error:
        raise _damaged(file) from error
    if not isinstance(values, dict):
        raise _damaged(file)
    return values


def _valid(kind: type[_Read], file: Path, values: Mapping[str, Any]) -> _Read:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _damaged(file) from error


def _damaged(file: Path) -> EffaceError:
    return EffaceError(f"{file} is damaged; copy the run again, or repeat it")


def _records(folder: Path) -> Records:
    files = {file.stem: file for file in sorted(folder.glob("*.jsonl"))}
    check_names(files, where=str(folder))
    return {name: read_records(file) for name, file in files.items()}
