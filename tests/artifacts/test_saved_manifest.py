"""The manifest of a run is read from a regular file of a limited size; a purge is in it."""

from __future__ import annotations

import os

import pytest

from efface.artifacts import Manifest, saved_manifest
from efface.artifacts.saved_manifest import is_fine_tuning, lost_records_by_purge, read_manifest
from efface.errors import EffaceError
from support.messages import assert_names

MADE = Manifest(
    efface="1",
    commit=None,
    command=[],
    seed=0,
    device="cpu",
    precision="float32",
    versions={},
    data={},
    model="some/model",
    model_sha256="b" * 64,
    started="2026-01-01T00:00:00+00:00",
)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "manifest.json").write_text(MADE.model_copy(update={"purged": ["records"]}).model_dump_json())
    return tmp_path


def refused(run, *names):
    with pytest.raises(EffaceError) as raised:
        read_manifest(run, "try another")
    assert_names(str(raised.value), str(run / "manifest.json"), "try another", *names)


def test_what_cannot_be_read(run, monkeypatch):
    assert read_manifest(run).model == MADE.model
    with monkeypatch.context() as patched:
        patched.setattr(saved_manifest, "MAX_JSON", 10)
        refused(run, "MiB")
    (run / "manifest.json").write_text("[]")
    refused(run, "damaged")
    (run / "manifest.json").unlink()
    refused(run)
    os.mkfifo(run / "manifest.json")  # opening it would wait for a writer
    with pytest.raises(EffaceError):
        read_manifest(run)


def test_whether_a_purge_removed_the_records(run):
    assert lost_records_by_purge(run)
    (run / "records").mkdir()
    assert not lost_records_by_purge(run)
    (run / "records").rmdir()
    for text in (MADE.model_dump_json(), "{}"):
        (run / "manifest.json").write_text(text)
        assert not lost_records_by_purge(run)
    assert not lost_records_by_purge(run / "none")


def test_whether_a_folder_is_a_finished_fine_tuning(run):
    (run / "model").mkdir(exist_ok=True)
    assert not is_fine_tuning(run)
    (run / "manifest.json").write_text(MADE.model_copy(update={"seconds": {"finetune": 1.0}}).model_dump_json())
    assert is_fine_tuning(run)
    (run / "model").rmdir()
    assert not is_fine_tuning(run)
    (run / "manifest.json").write_text("{}")
    assert not is_fine_tuning(run)
