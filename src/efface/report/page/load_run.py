"""Load the folder of a run, complete or not, for a report. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from efface.artifacts import ContinualResults, EpochScores, Manifest, Results, Scores
from efface.errors import EffaceError
from efface.files.folders import STAGES, QueuePaths, RunPaths, epoch_stage
from efface.files.safe_read import MIB, parse_json, read_text
from efface.files.safe_yaml import MAX_BYTES, InvalidYamlError, parse_yaml
from efface.files.sums import read_checked
from efface.records import read_records
from efface.renamed import current_settings
from efface.report.page.both_at_once import both_at_once, can_fork
from efface.report.page.loss_curve import Step, read_steps
from efface.report.page.questions.answered import AnsweredSets, read_answered, record_files, score_folder
from efface.report.page.watch_curve import WatchedEpoch, read_watched
from efface.scores.continual import continual_results

_Artifact = TypeVar("_Artifact", bound=BaseModel)
_LARGE = 64 * MIB
"""Records before and after of so many bytes are read at once, on two cores: they take a second or more."""


@dataclass(frozen=True)
class ReportRun:
    """The contents of a folder of `efface run` or `efface evaluate`; empty where they do not exist yet."""

    path: Path
    kind: Literal["run", "queue", "evaluation"]
    """An evaluation scores one model: its scores are `after`, and `before` is None."""
    definition: str
    """How the scores are defined."""
    config_text: str
    """The text of config.yaml."""
    method: str | None = None
    manifest: Manifest | None = None
    unfinished: str | None = None
    """How far the run is, as a sentence; None for a complete run."""
    before: Scores | None = None
    after: Scores | None = None
    results: Results | ContinualResults | None = None
    epochs: Sequence[EpochScores] = ()
    steps: Sequence[Step] = ()
    watched: Sequence[WatchedEpoch] = ()
    """What `train.watch` measured; empty without it."""
    answered: Mapping[str, AnsweredSets] = field(default_factory=dict)
    """Stage (`before`, `after`) -> questions with answers and scores."""
    own_answers: bool = False
    """The reference answers of the retain set are earlier ones of the model itself (`data.retain=model-answers`)."""

    @property
    def queue(self) -> ContinualResults | None:
        """The results of a queue of requests; None for a single run."""
        return self.results if isinstance(self.results, ContinualResults) else None


def load_report_run(path: Path) -> ReportRun:
    """Load a folder that `efface run` or `efface evaluate` wrote, also one of an earlier version.

    Args:
        path: The folder; the run need not be complete.

    Returns:
        Everything that a report shows of it.

    Raises:
        EffaceError: The folder is not a run, is damaged, or has nothing to show yet.
    """
    if not path.is_dir():
        problem = "is a file" if path.exists() else "does not exist"
        raise EffaceError(f"{path} {problem}; give the folder of a run, the --out of efface run")
    settings, text = _read_settings(path)
    definition, method = settings.get("definition"), settings.get("method")
    if not isinstance(definition, str):
        raise EffaceError(
            f"{RunPaths(path).config} has no definition of scores; give the folder of efface run or efface evaluate"
        )
    data = settings.get("data")
    run = ReportRun(
        path=path,
        kind="run",
        definition=definition,
        config_text=text,
        manifest=_read_manifest(path),
        own_answers=isinstance(data, dict) and data.get("retain") == "model-answers",
    )
    if not isinstance(method, str):
        return _load_evaluation(run)
    run = (_load_queue if settings.get("continual") else _load_run)(replace(run, method=method))
    if not (run.before or run.after or run.steps):
        raise EffaceError(f"{path} has no scores or losses yet; try again once the run has evaluated or trained")
    return run


def _read_settings(path: Path) -> tuple[dict[str, Any], str]:
    """The settings in config.yaml under their current names, and the text of the file."""
    file = RunPaths(path).config
    if not file.is_file():
        runs = sorted(each.name for each in path.iterdir() if RunPaths(each).config.is_file())
        hint = f"give one or more of the runs in it: {', '.join(runs[:5])}" if runs else "give the folder of a run"
        raise EffaceError(f"{path} has no config.yaml, so it is not a run of efface; {hint}")
    try:
        text = read_text(file, MAX_BYTES, "restore it from a copy")
        settings = parse_yaml(text)
    except (UnicodeDecodeError, InvalidYamlError) as error:
        raise _damaged(file) from error
    if not isinstance(settings, dict):
        raise EffaceError(f"{file} has no settings; give the folder of a run")
    return current_settings(settings), text


def _load_evaluation(run: ReportRun) -> ReportRun:
    paths = RunPaths(run.path)
    values = _read_json(paths.scores)
    if values is None:
        raise EffaceError(
            f"{run.path} has neither an unlearning run nor scores of efface evaluate; evaluate its model first"
        )
    fields = {name: values.get(name) for name in Scores.model_fields}
    scores = _validate(Scores, paths.scores, {**fields, "notes": values.get("notes", {})})
    return replace(run, kind="evaluation", after=scores, answered={"after": _read(run, paths.records_root)})


def _load_run(run: ReportRun) -> ReportRun:
    paths = RunPaths(run.path)
    answered = _read_stages(run, paths)
    run = replace(run, steps=read_steps(paths.metrics), watched=read_watched(paths.metrics), answered=answered)
    values = _read_json(paths.results)
    if values is None:
        return _score_unfinished(run)
    results = _validate(Results, paths.results, values)
    epochs = results.trajectory.epochs if results.trajectory else ()
    return replace(run, before=results.before, after=results.after, results=results, epochs=epochs)


def _score_unfinished(run: ReportRun) -> ReportRun:
    paths = RunPaths(run.path)
    before, after = (score_folder(paths.records(stage), run.definition) for stage in STAGES)
    epochs = _score_epochs(paths, run.definition, run.steps)
    return replace(run, before=before, after=after, epochs=epochs, unfinished=_progress(run))


def _progress(run: ReportRun) -> str:
    """How far an unfinished run is."""
    if RunPaths(run.path).model.is_dir() and not run.answered["before"]:
        return "The model was not evaluated; efface evaluate can do that."
    if run.steps and run.steps[-1].step < run.steps[-1].steps:
        return f"The last optimizer step was {run.steps[-1].step} of {run.steps[-1].steps} when this report was made."
    return "Training is complete, the evaluation is not." if run.steps else "Training had not started."


def _score_epochs(paths: RunPaths, definition: str, steps: Sequence[Step]) -> list[EpochScores]:
    folder = paths.records(epoch_stage(1)).parent
    numbers = sorted(int(each.name) for each in folder.glob("*") if each.name.isdecimal())
    epochs = []
    for number in numbers:
        if scores := score_folder(paths.records(epoch_stage(number)), definition):
            epochs.append(EpochScores(epoch=number, step=steps[-1].step if steps else 0, scores=scores))
    return epochs


def _load_queue(run: ReportRun) -> ReportRun:
    paths = QueuePaths(run.path)
    requests = paths.requests()
    done = [each for each in requests if each.results.is_file()]
    first = paths.records("before")
    values = _read_json(paths.results)
    results = _join_requests(run, done, first) if values is None else _validate(ContinualResults, paths.results, values)
    steps, watched = _join_metrics(requests)
    return replace(
        run,
        kind="queue",
        before=score_folder(first, run.definition) if results is None else results.before,
        after=None if results is None else results.after[-1],
        results=results,
        steps=steps,
        watched=watched,
        answered=_read_stages(run, done[-1]) if done else {"before": _read(run, first), "after": {}},
        unfinished=None if values is not None else f"Requests done when this report was made: {len(done)}.",
    )


def _join_metrics(requests: Sequence[RunPaths]) -> tuple[list[Step], list[WatchedEpoch]]:
    """The steps and the watched epochs of all requests, one after another."""
    steps: list[Step] = []
    watched: list[WatchedEpoch] = []
    for number, each in enumerate(requests, 1):
        watched += read_watched(each.metrics, earlier_steps=len(steps), prefix=f"request {number}, ")
        steps += read_steps(each.metrics)
    return steps, watched


def _join_requests(run: ReportRun, done: Sequence[RunPaths], first: Path) -> ContinualResults | None:
    """The results of the requests that are done, as far as the first model has records of their forget sets."""
    files = record_files(first)
    scored = [each for number, each in enumerate(done, 1) if f"forgotten-{number}" in files]
    if not scored:
        return None
    results = [_validate(Results, each.results, _read_json(each.results) or {}) for each in scored]
    names = [f"request {number}" for number in range(1, len(results) + 1)]
    records = {name: read_records(file) for name, file in files.items()}
    return continual_results(results, records, names, run.definition)


def _read_stages(run: ReportRun, paths: RunPaths) -> Mapping[str, AnsweredSets]:
    before, after = (partial(_read, run, paths.records(stage)) for stage in STAGES)
    size = sum(file.stat().st_size for stage in STAGES for file in paths.records(stage).glob("*.jsonl"))
    answered = both_at_once(before, after) if size >= _LARGE and can_fork() else (before(), after())
    return dict(zip(STAGES, answered, strict=True))


def _read(run: ReportRun, folder: Path) -> AnsweredSets:
    return read_answered(folder, run.definition)


def _read_manifest(path: Path) -> Manifest | None:
    file = RunPaths(path).manifest
    values = _read_json(file)
    return None if values is None else _validate(Manifest, file, values)


def _read_json(file: Path) -> dict[str, Any] | None:
    """The object in a file; None where the file does not exist."""
    if not file.is_file():
        return None
    try:
        values = parse_json(read_checked(file))
    except ValueError as error:
        raise _damaged(file) from error
    if not isinstance(values, dict):
        raise _damaged(file)
    return values


def _validate(model: type[_Artifact], file: Path, values: Mapping[str, Any]) -> _Artifact:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _damaged(file) from error


def _damaged(file: Path) -> EffaceError:
    return EffaceError(f"{file} is damaged; copy the run again, or repeat it")
