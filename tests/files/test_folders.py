"""Paths in the folders that efface writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from efface.files.folders import SWEEP_PARTS, QueuePaths, RunPaths, SweepPaths, epoch_stage, queue_of

ROOT = Path("runs/one")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (RunPaths(ROOT).config, "config.yaml"),
        (RunPaths(ROOT).records("before"), "records/before"),
        (RunPaths(ROOT).records(epoch_stage(3)), "records/epochs/003"),
        (RunPaths(ROOT).reference_states, "checkpoints/reference.safetensors"),
        (RunPaths(ROOT).reference_states_of(0, 1), "checkpoints/reference.safetensors"),
        (RunPaths(ROOT).reference_states_of(1, 4), "checkpoints/reference-1-of-4.safetensors"),
        (RunPaths(ROOT).downstream(), "downstream.json"),
        (RunPaths(ROOT).downstream("after"), "downstream-after.json"),
        (QueuePaths(ROOT).request(7).model, "requests/07/model"),
        (SweepPaths(ROOT).part("targets"), "targets"),
    ],
)
def test_paths(path, expected):
    assert path == ROOT / expected


def test_a_file_of_an_earlier_version_is_found_under_its_old_name(tmp_path):
    paths = RunPaths(tmp_path)
    assert paths.model_answers == tmp_path / "model_answers.jsonl"
    (tmp_path / "own_answers.jsonl").touch()
    assert paths.model_answers == tmp_path / "own_answers.jsonl"
    (tmp_path / "model_answers.jsonl").touch()
    assert paths.model_answers == tmp_path / "model_answers.jsonl"


def test_requests_come_in_order(tmp_path):
    for name in ("10", "02", "notes"):
        (tmp_path / "requests" / name).mkdir(parents=True)
    assert [each.root.name for each in QueuePaths(tmp_path).requests()] == ["02", "10"]


def test_a_stage_has_records_once_a_set_is_written(tmp_path):
    paths = RunPaths(tmp_path)
    assert not paths.has_records("before")
    paths.records("before").mkdir(parents=True)
    (paths.records("before") / "forget.jsonl").touch()
    assert paths.has_records("before")


@pytest.mark.parametrize("name", ["runs.jsonl", "table.json", *SWEEP_PARTS])
def test_a_folder_with_any_part_of_a_sweep(tmp_path, name):
    assert not SweepPaths(tmp_path).holds_sweep()
    (tmp_path / name).touch()
    assert SweepPaths(tmp_path).holds_sweep()


def test_the_queue_of_a_request(tmp_path, monkeypatch):
    request = tmp_path / "queue" / "requests" / "02"
    request.mkdir(parents=True)
    assert queue_of(request) is None
    (tmp_path / "queue" / "manifest.json").touch()
    assert queue_of(request) == QueuePaths(tmp_path / "queue")
    assert queue_of(request.parent) is None
    monkeypatch.chdir(request)
    assert queue_of(Path()) == QueuePaths(tmp_path / "queue")
