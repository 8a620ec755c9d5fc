"""Settings and manifest of a run's folder: written once it starts, and up to date from then on."""

from __future__ import annotations

import json

import pytest

from efface.config.commands import RunConfig
from efface.config.parse import read_yaml, validate_config
from efface.run import metadata as module
from efface.run.folder import RunFolder
from efface.run.metadata import RunMetadata
from efface.run.model_answers import read_answers


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


@pytest.fixture
def metadata(folder, settings, made):
    return RunMetadata(folder, validate_config(RunConfig, settings), made.model_copy(update={"seconds": {"a": 1.5}}))


@pytest.fixture
def clock(monkeypatch):
    """Every look at the clock is two seconds after the one before."""
    times = iter(range(0, 100, 2))
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(times))


def test_nothing_is_written_before_the_start(folder, metadata, clock):
    with metadata.stage("evaluate before"):
        pass
    metadata.set_peak_memory(7)
    assert not folder.root.exists()
    metadata.start()
    assert sorted(path.name for path in folder.root.iterdir()) == ["config.yaml", "manifest.json"]
    written = folder.read_manifest()
    assert written == metadata.manifest
    assert (written.seconds, written.peak_memory_bytes) == ({"a": 1.5, "evaluate before": 2.0}, 7)


def test_after_the_start_every_change_is_on_disk(folder, metadata, clock):
    metadata.start()
    for name, expected in (("b", {"a": 1.5, "b": 2.0}), ("a", {"a": 3.5, "b": 2.0})):
        with metadata.stage(name):
            pass
        assert folder.read_manifest().seconds == expected
    metadata.set_peak_memory(None)
    assert folder.read_manifest() == metadata.manifest


def test_a_stage_that_fails_is_not_counted(folder, metadata):
    metadata.start()
    with pytest.raises(KeyboardInterrupt), metadata.stage("b"):
        raise KeyboardInterrupt
    assert folder.read_manifest().seconds == {"a": 1.5}


def test_a_second_start_does_nothing(folder, metadata):
    metadata.start()
    folder.config.unlink()
    metadata.start()
    assert not folder.config.exists()


def test_the_manifest_that_was_given_stays_as_it_is(folder, settings, made):
    before = made.model_dump_json()
    metadata = RunMetadata(folder, validate_config(RunConfig, settings), made)
    metadata.start()
    with metadata.stage("b"):
        pass
    metadata.set_peak_memory(3)
    assert made.model_dump_json() == before


def test_settings_and_model_answers(folder, settings, made):
    config = validate_config(RunConfig, settings)
    answers = {"generic/history/01": "Long ago.", "generic/history/02": " "}
    RunMetadata(folder, config, made, model_answers=answers).start()
    assert validate_config(RunConfig, read_yaml(folder.config)) == config
    assert read_answers(folder) == {"generic/history/01": "Long ago."}
    assert len([json.loads(line) for line in folder.model_answers.read_text().splitlines()]) == 1
