"""What lies in a sweep's folder already, found by content: whatever a folder is called, and whoever made it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from efface.artifacts import ContinualResults, Downstream, Manifest, Results, Scores
from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.continual import ContinualConfig
from efface.config.parse import read_saved_settings, validate_config
from efface.continual.folder import QueueFolder
from efface.errors import EffaceError
from efface.folders import CONFIG
from efface.run.folder import RunFolder
from efface.sweep.run_key import AnyConfig, before_key, contents_of, downstream_key, key

ResultsT = TypeVar("ResultsT", Results, ContinualResults)


@dataclass(frozen=True)
class IndexedRun:
    """A run, fine-tuning or evaluation, finished or begun."""

    path: Path
    config: AnyConfig
    """As it was made, but for plug-ins: theirs would have to be imported."""
    manifest: Manifest
    key: str
    done: bool

    @property
    def results(self) -> Results:
        """Of a finished run; of a queue of requests, those of the last, whose model is compared with the first one."""
        results = _results(_last(self.path, self.config), Results)
        assert results is not None, "it is done"
        return results

    @property
    def over_time(self) -> ContinualResults | None:
        """Of a finished queue; None for a single request."""
        return _results(self.path, ContinualResults)

    @property
    def before(self) -> str:
        """By what the records before unlearning of a run are known."""
        assert isinstance(self.config, RunConfig)
        return before_key(self.config, contents_of(self.manifest))

    @property
    def scores(self) -> Scores:
        """Of a finished evaluation."""
        scores = _scores(self.path)
        assert scores is not None, "it is done"
        return scores


class SweepIndex:
    """All that a sweep's folder holds, by key."""

    def __init__(self, root: Path) -> None:
        self._by_key: dict[str, IndexedRun] = {}
        self._before: dict[str, list[Path]] = {}
        self._downstream: dict[str, Downstream] = {}
        for path in _folders(root):
            self.add(path)

    def add(self, path: Path) -> IndexedRun | None:
        """Take note of what lies in `path`; None where that is nothing one can tell."""
        found = _index_folder(path)
        if found is None:
            return None
        known = self._by_key.get(found.key)
        if known is None or known.path == path or not known.done:
            self._by_key[found.key] = found
        if isinstance(found.config, RunConfig):
            if found.config.continual is None and RunFolder(path).has_records("before"):
                self._before.setdefault(found.before, []).append(path)
            if scores := RunFolder(path).read_downstream("before"):
                self._downstream[downstream_key(found.config, contents_of(found.manifest))] = scores
        return found

    def finished(self, path: Path) -> IndexedRun:
        """Take note of what was just finished in `path`."""
        found = self.add(path)
        assert found is not None, "it was just written"
        assert found.done, path
        return found

    def get(self, digest: str) -> IndexedRun | None:
        """What has this key; the finished one of several."""
        return self._by_key.get(digest)

    def before(self, digest: str, sets: list[str]) -> RunFolder | None:
        """A run with the records before unlearning of this key, those of all `sets`."""
        runs = (RunFolder(path) for path in self._before.get(digest, ()))
        return next((run for run in runs if run.read_records("before", sets) is not None), None)

    def downstream(self, digest: str) -> Downstream | None:
        """The scores on downstream tasks before unlearning that have this key."""
        return self._downstream.get(digest)


def _folders(root: Path) -> Iterator[Path]:
    """Every folder that holds settings, sorted; what lies in one of them belongs to it."""
    for here, inside, files in os.walk(root):
        inside.sort()
        if CONFIG in files:
            inside.clear()
            yield Path(here)


def _index_folder(path: Path) -> IndexedRun | None:
    try:
        config, manifest = _config(path), RunFolder(path).read_manifest()
    except EffaceError:
        return None
    if manifest is None:
        return None
    match config:
        case RunConfig(continual=None):
            done = _results(path, Results) is not None
        case RunConfig(continual=ContinualConfig(requests=requests)):
            whole = _results(path, ContinualResults)  # of fewer requests, where one was added and is not done yet
            last = _results(_last(path, config), Results)
            done = whole is not None and last is not None and len(whole.requests) == len(requests)
        case FinetuneConfig():
            done = RunFolder(path).model.is_dir()
        case EvaluationConfig():
            done = _scores(path) is not None
    return IndexedRun(path, config, manifest, key(config, contents_of(manifest)), done)


def _config(path: Path) -> AnyConfig:
    """The settings in a folder, without importing plug-ins: their code may be gone, or no longer be what it was."""
    values = read_saved_settings(RunFolder(path).config)
    if "method" in values:
        known = validate_config(RunConfig, {**values, "method": "ga", "plugins": ()})
        return known.model_copy(update={"method": values["method"]})
    if "train" in values:
        return validate_config(FinetuneConfig, values)
    return validate_config(EvaluationConfig, {**values, "plugins": ()})


def _last(path: Path, config: AnyConfig) -> Path:
    """The run's folder that tells how it ended: of a queue, that of its last request."""
    queue = getattr(config, "continual", None)
    return path if queue is None else QueueFolder(path).request(len(queue.requests)).root


def _results(path: Path, kind: type[ResultsT]) -> ResultsT | None:
    try:
        return kind.model_validate(_json(RunFolder(path).results))
    except ValidationError:
        return None


def _scores(path: Path) -> Scores | None:
    body = _json(RunFolder(path).scores)
    try:
        return Scores.model_validate({name: value for name, value in body.items() if name in Scores.model_fields})
    except ValidationError:
        return None


def _json(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}
