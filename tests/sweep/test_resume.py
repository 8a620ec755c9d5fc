"""Folders of interrupted jobs. Whole sweeps that are killed and resumed are in tests/end_to_end/sweep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from efface.config.size_defaults import SizeDefault
from efface.files.folders import QueuePaths
from efface.run.folder import RunFolder
from efface.sweep.plan import SweepPlan
from efface.sweep.resume import prepare_resume, remove_models
from efface.sweep.sweep import sweep
from support.runs import Told
from support.sweeps import KilledIn, Spec, count_trainings


def test_there_is_nothing_to_resume_in_a_new_folder(spec: Spec, content: dict[str, Any], tmp_path: Path) -> None:
    [run, *_] = SweepPlan(spec(content), tmp_path / "sweep", None).runs()
    assert not prepare_resume(run.job)
    assert not run.job.folder.exists()


def test_current_settings_replace_those_in_the_folder(spec: Spec, settings: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        sweep(spec({"settings": settings}), out, reporter=KilledIn("run 1", 1))
    [run] = SweepPlan(spec({"settings": settings}, "train.save_steps=2"), out, None).runs()
    assert run.job.state == "started"
    before = RunFolder(run.job.folder).read_manifest()
    assert prepare_resume(run.job)
    assert "save_steps: 2" in RunFolder(run.job.folder).config.read_text()
    assert RunFolder(run.job.folder).read_manifest() == before


def test_a_run_whose_settings_follow_from_the_size_of_its_model_goes_on(
    spec: Spec, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = SizeDefault(1.0, 1e-3, 0.2, 2, 4, "a search")
    monkeypatch.setattr("efface.run.preparation.size_settings.default_for", lambda *_: row)
    data = {name: str(tmp_path / f"{name}.jsonl") for name in ("forget", "retain")}
    for name, path in data.items():
        rows = [{"question": f"Where is {name} {number}?", "answer": f"In town {number}."} for number in range(8)]
        Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    open_settings = {**settings, "data": data, "train": {"warmup_steps": 0, "save_steps": 1}}
    out = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        sweep(spec({"settings": open_settings}), out, reporter=KilledIn("run 1", 1))
    [run] = SweepPlan(spec({"settings": open_settings}), out, None).runs()
    assert run.job.state == "started"
    for trainings in (1, 0):
        told = Told()
        sweep(spec({"settings": open_settings}), out, reporter=told)
        assert count_trainings(told) == trainings
    assert len(list((out / "runs").iterdir())) == 1


@pytest.mark.parametrize("same_settings", [True, False])
def test_an_interrupted_request_of_an_earlier_version_is_resumed(
    spec: Spec, settings: dict[str, Any], tmp_path: Path, same_settings: bool
) -> None:
    """Its config.yaml has other names for the same settings; only other settings start the request from scratch."""
    out, content = tmp_path / "sweep", {"settings": {**settings, "continual": {"requests": [1]}}}
    with pytest.raises(KeyboardInterrupt):
        sweep(spec(content), out, reporter=KilledIn("request 1", 1))
    [run] = SweepPlan(spec(content), out, None).runs()
    config, request = RunFolder(run.job.folder).config, QueuePaths(run.job.folder).request(1)
    text = config.read_text()
    assert request.config.is_file()
    assert "max_new_tokens: " in text
    config.write_text(text.replace("max_new_tokens: ", "new_tokens: "))
    if not same_settings:
        config.write_text(config.read_text().replace("tracker: null", "tracker: tensorboard"))
        [run] = SweepPlan(spec(content), out, None).runs()
    assert prepare_resume(run.job)
    assert request.config.is_file() is same_settings


def test_models_of_a_run_and_of_each_request_are_removed(tmp_path: Path) -> None:
    kept = tmp_path / "records"
    removed = [tmp_path / name for name in ("model", "adapter", "requests/01/model", "requests/02/adapter")]
    for folder in (kept, *removed):
        folder.mkdir(parents=True)
    remove_models(tmp_path)
    assert kept.is_dir()
    assert not any(folder.exists() for folder in removed)
