"""Files of runs are compared with their sums: what differs, is missing, was added or purged."""

from __future__ import annotations

import hashlib
import json

import pytest

from efface.artifacts import Manifest
from efface.commands.verify import verify
from efface.errors import EffaceError
from efface.files.sums import file_sum, write_sums
from support.messages import assert_names

FILES = {"results.json": "{}", "records/after/forget.jsonl": "a", "model/config.json": "b", "config.yaml": "c"}


def write_run(root, made: Manifest, **values):
    """A run's folder whose manifest has the sums of its files."""
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    files = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in FILES.items()}
    config = files.pop("config.yaml")
    manifest = made.model_copy(update={"files": files, "config_sha256": config, **values})
    (root / "manifest.json").write_text(manifest.model_dump_json())
    return root


@pytest.fixture
def run(tmp_path, made):
    return write_run(tmp_path / "run", made)


def test_an_intact_run(run, efface):
    (run / "report.html").write_text("made later")
    found = verify(run)
    assert found.is_intact
    assert found.runs[0].intact == 4
    ran = efface("verify", str(run))
    assert ran.returncode == 0
    assert_names(ran.stdout, str(run), "4 files intact")


def test_what_is_not_intact_is_named(run, efface):
    (run / "results.json").write_text("{ }")
    (run / "model" / "config.json").unlink()
    (run / "records" / "after" / "more.jsonl").write_text("x")
    ran = efface("verify", str(run), "--json")
    assert ran.returncode == 1
    found = json.loads(ran.stdout)
    assert (found["schema"], found["is_intact"]) == (1, False)
    [one] = found["runs"]
    assert one == {
        "path": str(run),
        "has_sums": True,
        "intact": 2,
        "differs": ["results.json"],
        "missing": ["model/config.json"],
        "not_recorded": ["records/after/more.jsonl"],
        "purged": [],
    }
    text = efface("verify", str(run)).stdout
    assert_names(text, "results.json differs", "model/config.json is missing", "more.jsonl was not written by the run")


@pytest.mark.parametrize("purged", [["records"], ["records/after/forget.jsonl"]])
def test_what_was_purged_is_not_missing(tmp_path, made, purged, efface):
    run = write_run(tmp_path / "run", made, purged=purged)
    (run / "records" / "after" / "forget.jsonl").unlink()
    ran = efface("verify", str(run))
    assert ran.returncode == 0
    assert_names(ran.stdout, f"{purged[0]} was purged", "3 files intact")
    (run / "model" / "config.json").unlink()  # which was not
    assert verify(run).runs[0].missing == ("model/config.json",)


def test_a_checkpoint_that_differs(run, made):
    path = run / "checkpoints" / "step-000002"
    path.mkdir(parents=True)
    (path / "trained.safetensors").write_text("x")
    write_sums(path)
    files = json.loads((run / "manifest.json").read_text())["files"]
    manifest = made.model_copy(
        update={"files": {**files, f"{path.relative_to(run)}/SHA256SUMS": file_sum(path / "SHA256SUMS")}}
    )
    (run / "manifest.json").write_text(manifest.model_dump_json())
    assert (verify(run).is_intact, verify(run).runs[0].intact) == (True, 4)
    (path / "trained.safetensors").write_text("y")
    assert verify(run).runs[0].differs == ("checkpoints/step-000002",)


def test_settings_that_differ_or_are_missing(run):
    (run / "config.yaml").write_text("d")
    assert verify(run).runs[0].differs == ("config.yaml",)
    (run / "config.yaml").unlink()
    assert verify(run).runs[0].missing == ("config.yaml",)


def test_every_run_below_a_folder(tmp_path, made, efface):
    for name in ("sweep/runs/a", "sweep/runs/b", "sweep/runs/b/requests/01"):
        write_run(tmp_path / name, made)
    found = verify(tmp_path / "sweep")
    assert [each.path.removeprefix(str(tmp_path)) for each in found.runs] == [
        "/sweep/runs/a",
        "/sweep/runs/b",
        "/sweep/runs/b/requests/01",
    ]
    assert found.is_intact
    (tmp_path / "sweep/runs/b/requests/01/results.json").write_text("x")
    assert [each.is_intact for each in verify(tmp_path / "sweep").runs] == [True, True, False]
    assert efface("verify", str(tmp_path / "sweep")).returncode == 1


def test_what_a_kill_left_was_not_added(run):
    (run / ".model.partial").mkdir()
    (run / "records" / "after" / ".retain.jsonl.partial").write_text("half")
    assert verify(run).is_intact


def test_a_run_of_an_earlier_version_has_no_sums(tmp_path, made, efface):
    run = write_run(tmp_path / "run", made, files=None)
    (run / "results.json").write_text("x")
    ran = efface("verify", str(run))
    assert ran.returncode == 0
    assert_names(ran.stdout, "no sums", "earlier version")
    assert json.loads(efface("verify", str(run), "--json").stdout)["runs"][0]["has_sums"] is False


def test_what_cannot_be_verified(tmp_path, run):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (run / "manifest.json").write_text("[]")
    for path, problem in ((tmp_path / "none", "exist"), (tmp_path / "file", "file"), (tmp_path / "empty", "no run")):
        with pytest.raises(EffaceError) as raised:
            verify(path)
        assert_names(str(raised.value), str(path), problem, "give the folder")
    with pytest.raises(EffaceError) as raised:
        verify(run)
    assert_names(str(raised.value), str(run / "manifest.json"), "damaged")
