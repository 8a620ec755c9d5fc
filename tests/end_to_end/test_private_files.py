"""Nobody else can read a file of a run, at any moment of it."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest

from efface.config.commands import RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.continual.queue import run_queue
from efface.files.folder_lock import is_lock
from efface.run.pipeline import run
from efface.sweep.spec import SweepSpec
from efface.sweep.sweep import sweep
from support.runs import Told

pytestmark = pytest.mark.slow  # quick: modes in tests/files/test_permissions.py


@pytest.fixture(autouse=True)
def usual_umask():
    earlier = os.umask(0o022)
    yield
    os.umask(earlier)


class Watching(Told):
    """Notes the mode of each path in a folder whenever something happens."""

    def __init__(self, root):
        super().__init__()
        self._root, self.seen = root, {}

    def look(self):
        for path in (self._root, *self._root.rglob("*")):
            is_incomplete = path.is_file() and any(part.endswith(".partial") for part in path.parts)
            if not is_lock(path) and not is_incomplete:  # a file gets its mode before it gets its name
                name = path.relative_to(self._root).as_posix()
                with suppress(FileNotFoundError):  # a thread has just given a checkpoint its final name
                    self.seen.setdefault(name, set()).add((path.is_dir(), path.stat().st_mode & 0o777))

    def on_step(self, log):
        self.look()

    def on_progress(self, what, done, total):
        self.look()


def watched(root, call):
    """The path of everything that was in the folder at any time -> its modes."""
    reporter = Watching(root)
    call(reporter)
    reporter.look()
    return reporter.seen


def modes_of(seen):
    return {mode for modes in seen.values() for mode in modes}


@pytest.fixture
def small(settings):
    return merge_settings(
        settings, {"train": {"epochs": 1, "batch_size": 10, "save_steps": 1}, "evaluate": {"limit": 2}}
    )


PRIVATE, OPEN = {(False, 0o600), (True, 0o700)}, {(False, 0o644), (True, 0o755)}


@pytest.mark.parametrize(("private", "modes"), [(True, PRIVATE), (False, OPEN)])
def test_runs(tmp_path, small, private, modes):
    config = validate_config(RunConfig, merge_settings(small, {"private": private, "evaluate": {"every": "epoch"}}))
    root = tmp_path / "parent" / "run"
    seen = watched(root, lambda reporter: run(config, root, reporter=reporter))
    assert {"checkpoints/step-000001/trained.safetensors", "metrics.jsonl", "model/model.safetensors"} <= seen.keys()
    assert any(name.startswith("evaluating/") for name in seen)
    assert modes_of(seen) == modes
    assert root.parent.stat().st_mode & 0o777 == 0o755


def test_queues(tmp_path, small):
    config = validate_config(RunConfig, merge_settings(small, {"continual": {"requests": [1, 2]}}))
    seen = watched(tmp_path / "queue", lambda reporter: run_queue(config, tmp_path / "queue", reporter=reporter))
    assert {"requests/01/model/model.safetensors", "requests/02/model/model.safetensors"} <= seen.keys()
    assert modes_of(seen) == PRIVATE


def test_sweeps_with_target_and_baseline(tmp_path, small):
    """Through them, `efface finetune` and `efface evaluate`."""
    target = {name: small[name] for name in ("model", "data", "text", "train")}
    settings = {name: value for name, value in small.items() if name != "model"}
    spec = {"target": target, "settings": settings, "grid": {"train.lr": [1e-3]}, "baselines": ["random"]}
    for root, more, modes in ((tmp_path / "a", {}, PRIVATE), (tmp_path / "b", {"private": False}, OPEN)):
        changed = SweepSpec.model_validate({**spec, "settings": {**settings, **more}})
        seen = watched(root, lambda reporter: sweep(changed, root, reporter=reporter))  # noqa: B023 - called at once
        assert {name.split("/")[0] for name in seen} >= {"runs", "targets", "baselines", "table.json", "runs.jsonl"}
        assert modes_of(seen) == modes
