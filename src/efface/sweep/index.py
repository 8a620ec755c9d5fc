"""What a sweep's folder already contains, identified by content, whatever its folders are called."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from efface.artifacts import ContinualResults, Downstream, Manifest, Results, Scores
from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.continual import ContinualConfig
from efface.config.parse import validate_config
from efface.config.saved_settings import read_saved_settings
from efface.continual.folder import QueueFolder
from efface.errors import EffaceError
from efface.files.folders import CONFIG
from efface.files.safe_read import parse_json
from efface.files.sums import read_checked
from efface.run.folder import RunFolder
from efface.sweep.run_key import JobConfig, before_key, contents_of, downstream_key, run_key

ResultsT = TypeVar("ResultsT", Results, ContinualResults)


@dataclass(frozen=True)
class IndexedRun:
    """The folder of a run, fine-tuning or evaluation, complete or not."""

    path: Path
    config: JobConfig
    """Its settings without plug-ins, whose code is not imported."""
    manifest: Manifest
    key: str
    done: bool

    @property
    def results(self) -> Results:
        """Of a complete run; of a queue, those of the last request, which compare its model with the first model."""
        results = _read_results(_last_run_folder(self.path, self.config), Results)
        assert results is not None, "the run is complete"
        return results

    @property
    def continual_results(self) -> ContinualResults | None:
        """Of a complete queue; None for a single request."""
        return _read_results(self.path, ContinualResults)

    @property
    def before_key(self) -> str:
        """The key of a run's records before unlearning."""
        assert isinstance(self.config, RunConfig)
        return before_key(self.config, contents_of(self.manifest))

    @property
    def scores(self) -> Scores:
        """Of a complete evaluation."""
        scores = _read_scores(self.path)
        assert scores is not None, "the evaluation is complete"
        return scores


class SweepIndex:
    """Every job in a sweep's folder, by its key."""

    def __init__(self, root: Path) -> None:
        """Index all folders below `root`, which need not exist. Raises `EffaceError` as `add`."""
        self._by_key: dict[str, IndexedRun] = {}
        self._before: dict[str, list[Path]] = {}
        self._downstream: dict[str, Downstream] = {}
        for path in _job_folders(root):
            self.add(path)

    def add(self, path: Path) -> IndexedRun | None:
        """Index a folder, again if its contents have changed.

        Args:
            path: The folder of a job.

        Returns:
            What it contains; None where it is not the folder of a job.

        Raises:
            EffaceError: It was purged, and has no digests of its data.
        """
        indexed = _index_folder(path)
        if indexed is None:
            return None
        if indexed.manifest.purged_data:
            raise EffaceError(
                f"{path} was purged, and with it the SHA-256 of its data, by which a sweep knows its runs; start the "
                "sweep again in another --out"
            )
        known = self._by_key.get(indexed.key)
        if known is None or known.path == path or not known.done:
            self._by_key[indexed.key] = indexed
        if isinstance(indexed.config, RunConfig):
            if indexed.config.continual is None and RunFolder(path).has_records("before"):
                self._before.setdefault(indexed.before_key, []).append(path)
            if scores := RunFolder(path).read_downstream("before"):
                self._downstream[downstream_key(indexed.config, contents_of(indexed.manifest))] = scores
        return indexed

    def add_complete(self, path: Path) -> IndexedRun:
        """Index the folder of a job that has just been completed."""
        indexed = self.add(path)
        assert indexed is not None, path
        assert indexed.done, path
        return indexed

    def find(self, key: str) -> IndexedRun | None:
        """Find a job by its key.

        Args:
            key: A `run_key`.

        Returns:
            The job, a complete one if there are several; None where there is none.
        """
        return self._by_key.get(key)

    def find_before(self, key: str, sets: list[str]) -> RunFolder | None:
        """Find records before unlearning.

        Args:
            key: A `before_key`.
            sets: The sets that are needed.

        Returns:
            A run that has the records of all of them; None where there is none.
        """
        runs = (RunFolder(path) for path in self._before.get(key, ()))
        return next((run for run in runs if run.read_records("before", sets) is not None), None)

    def find_downstream(self, key: str) -> Downstream | None:
        """Find scores on downstream tasks before unlearning.

        Args:
            key: A `downstream_key`.

        Returns:
            The scores; None where there are none.
        """
        return self._downstream.get(key)


def _job_folders(root: Path) -> Iterator[Path]:
    """Every folder with a config.yaml, sorted; folders inside of one belong to it."""
    for path, folders, files in os.walk(root):
        folders.sort()
        if CONFIG in files:
            folders.clear()
            yield Path(path)


def _index_folder(path: Path) -> IndexedRun | None:
    try:
        config, manifest = _read_config(path), RunFolder(path).read_manifest()
    except EffaceError:
        return None
    if manifest is None:
        return None
    match config:
        case RunConfig(continual=None):
            done = _read_results(path, Results) is not None
        case RunConfig(continual=ContinualConfig(requests=requests)):
            joined = _read_results(path, ContinualResults)  # of fewer requests, if one was appended and is not done
            last = _read_results(_last_run_folder(path, config), Results)
            done = joined is not None and last is not None and len(joined.requests) == len(requests)
        case FinetuneConfig():
            done = RunFolder(path).model.is_dir()
        case EvaluationConfig():
            done = _read_scores(path) is not None
    return IndexedRun(path, config, manifest, run_key(config, contents_of(manifest)), done)


def _read_config(path: Path) -> JobConfig:
    """The settings in a folder, without importing plug-ins: their code may have changed or be missing."""
    values = read_saved_settings(RunFolder(path).config)
    if "method" in values:
        config = validate_config(RunConfig, {**values, "method": "ga", "plugins": ()})
        return config.model_copy(update={"method": values["method"]})
    if "train" in values:
        return validate_config(FinetuneConfig, values)
    return validate_config(EvaluationConfig, {**values, "plugins": ()})


def _last_run_folder(path: Path, config: JobConfig) -> Path:
    """The folder with a run's final results: of a queue, that of its last request."""
    queue = getattr(config, "continual", None)
    return path if queue is None else QueueFolder(path).request(len(queue.requests)).root


def _read_results(path: Path, model: type[ResultsT]) -> ResultsT | None:
    try:
        return model.model_validate(_read_json(RunFolder(path).results))
    except ValidationError:
        return None


def _read_scores(path: Path) -> Scores | None:
    values = _read_json(RunFolder(path).scores)
    try:
        return Scores.model_validate({name: value for name, value in values.items() if name in Scores.model_fields})
    except ValidationError:
        return None


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a file; empty where there is none."""
    try:
        values = parse_json(read_checked(path))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
