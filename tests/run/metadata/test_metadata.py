"""Settings and manifest of a run's folder: written once it starts, and up to date from then on."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest

from efface.config.commands import RunConfig
from efface.config.parse import read_yaml, validate_config
from efface.files.atomic import atomic_folder, record_in, recorded, write_text
from efface.files.sums import write_sums
from efface.progress.reporter import SilentReporter
from efface.run.folder import RunFolder
from efface.run.metadata import metadata as module
from efface.run.metadata.manifest import resume_manifest
from efface.run.metadata.metadata import RunMetadata
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
        assert datetime.fromisoformat(folder.read_manifest().finished) >= datetime.now(UTC) - timedelta(minutes=1)
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


# Sums of files


def sum_of(text):
    return hashlib.sha256(text.encode()).hexdigest()


def write_model(folder, *names, in_between=None):
    with atomic_folder(folder.model) as partial:
        partial.mkdir()
        for name in names:
            (partial / name).write_text(name)
        if in_between:
            in_between()


@pytest.fixture
def with_sums(folder, settings, made):
    """Metadata of a run of this version, which is started."""
    metadata = RunMetadata(folder, validate_config(RunConfig, settings), made.model_copy(update={"files": {}}))
    metadata.start()
    yield metadata
    record_in(folder.root, None)


def test_the_manifest_has_the_sums_of_what_is_written(folder, with_sums):
    write_text(folder.results, "{}")
    write_text(folder.records("after") / "forget.jsonl", "x\n")
    write_text(folder.root / "report.html", "<p>")  # not by the run
    write_model(folder, "a", "b")
    write_model(folder, "b", "c")  # replaces it
    write_text(folder.model / "README.md", "card")
    assert with_sums.sums_below(folder.model).keys() == {"model/README.md", "model/b", "model/c"}
    assert with_sums.sums_below(folder.adapter) == with_sums.sums_below(folder.root.parent / "model") == {}
    expected = {
        "model/README.md": sum_of("card"),
        "model/b": sum_of("b"),
        "model/c": sum_of("c"),
        "records/after/forget.jsonl": sum_of("x\n"),
        "results.json": sum_of("{}"),
    }
    written = folder.read_manifest()
    assert written == with_sums.manifest
    assert (written.files, written.writing) == (expected, {})


def test_a_thread_that_writes_a_checkpoint_loses_no_sum(folder, with_sums):
    """Records of an epoch appear in the moment in which the checkpoint does."""
    records = Thread(target=write_text, args=(folder.records("after") / "forget.jsonl", "x\n"))
    final, partial = folder.checkpoints / "step-000002", folder.checkpoints / ".step-000002.partial"
    partial.mkdir(parents=True)
    write_sums(partial)
    with recorded(final, partial):
        records.start()
        records.join(0.05)
        partial.replace(final)
    records.join()
    written = folder.read_manifest()
    assert written.files.keys() == {"checkpoints/step-000002/SHA256SUMS", "records/after/forget.jsonl"}
    assert written.writing == {}


def test_sums_are_there_before_the_file(folder, with_sums, monkeypatch):
    """A kill between the two leaves no file without a sum."""
    write_text(folder.results, "old")

    def killed(self, target):
        if target == folder.results:
            raise KeyboardInterrupt
        return rename(self, target)

    rename = Path.replace
    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_text(folder.results, "new")
    written = folder.read_manifest()
    assert written.files == {"results.json": sum_of("old")}
    assert written.writing == {"results.json": sum_of("new")}


@pytest.mark.parametrize("content", ["old", "new", None])
def test_after_a_kill_the_sum_is_that_of_the_file_on_disk(folder, settings, made, content):
    folder.root.mkdir(parents=True)
    if content is not None:
        folder.results.write_text(content)
    values = {"files": {"results.json": sum_of("old")}, "writing": {"results.json": sum_of("new")}}
    metadata = RunMetadata(folder, validate_config(RunConfig, settings), made.model_copy(update=values))
    metadata.start()
    record_in(folder.root, None)
    written = folder.read_manifest()
    assert (written.files, written.writing) == ({} if content is None else {"results.json": sum_of(content)}, {})


def test_of_checkpoints_the_newest_has_a_sum(folder, with_sums):
    for step in (1, 2):
        with atomic_folder(folder.checkpoints / f"step-{step}") as partial:
            partial.mkdir()
            (partial / "trained.safetensors").write_text(str(step))
            write_sums(partial)
    assert list(folder.read_manifest().files) == ["checkpoints/step-2/SHA256SUMS"]


def test_a_run_of_an_earlier_version_gets_no_sums(folder, metadata):
    metadata.start()
    write_text(folder.results, "{}")
    record_in(folder.root, None)
    assert folder.read_manifest().files is None


def test_the_manifest_has_the_sum_of_the_settings(folder, metadata):
    metadata.start()
    assert folder.read_manifest().config_sha256 == hashlib.sha256(folder.config.read_bytes()).hexdigest()


def test_a_resumed_run_keeps_its_sums(made):
    earlier = made.model_copy(update={"files": {"a": "1"}, "writing": {"b": "2"}, "purged": ["c"]})
    resumed = resume_manifest(earlier, made.model_copy(update={"files": {}}), reporter=SilentReporter())
    assert (resumed.files, resumed.writing, resumed.purged) == ({"a": "1"}, {"b": "2"}, ["c"])
