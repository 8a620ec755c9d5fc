"""Sums of files: computed, written beside them, and compared with those in the manifest of a run."""

from __future__ import annotations

import hashlib
import json
import subprocess

import pytest

from efface.errors import EffaceError
from efface.files.sums import (
    ChangedFileError,
    check_file,
    check_folder,
    checkpoint_problem,
    file_sum,
    folder_sums,
    read_checked,
    read_sums,
    write_sums,
)
from support.messages import assert_names

FILES = {"results.json": "{}", "records/after/forget.jsonl": "a", "model/config.json": "b", "model/m.safetensors": "c"}


def sum_of(text):
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def run(tmp_path):
    """A run's folder; the manifest has the sums of its files."""
    root = tmp_path / "run"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    write_manifest(root, files={name: sum_of(text) for name, text in FILES.items()})
    return root


def write_manifest(root, **values):
    (root / "manifest.json").write_text(json.dumps({"files": {}, "writing": {}, **values}))
    (root / "config.yaml").write_text("method: me\n")


def test_sums_are_those_of_sha256(tmp_path):
    for name in ("b", "a/deep"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert folder_sums(tmp_path) == {"a/deep": sum_of("a/deep"), "b": sum_of("b")}
    assert folder_sums(tmp_path, [tmp_path / "b"]) == {"b": sum_of("b")}
    assert file_sum(tmp_path / "b") == sum_of("b")


def test_sha256sum_reads_the_sums_of_a_checkpoint(tmp_path):
    (tmp_path / "two words").write_text("x")
    write_sums(tmp_path)
    assert subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert checkpoint_problem(tmp_path) is None


def test_files_of_a_run_are_what_it_wrote(run):
    for name, text in FILES.items():
        check_file(run / name)
        assert read_checked(run / name) == text.encode()
    check_folder(run / "model")
    check_folder(run / "model", {"config.json": sum_of("b"), "m.safetensors": sum_of("c")})


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_named(run, name):
    (run / name).write_text("other")
    for check in (check_file, read_checked):
        with pytest.raises(ChangedFileError) as raised:
            check(run / name)
        assert_names(str(raised.value), str(run / name), "SHA-256", "restore")


@pytest.mark.parametrize("name", ["results.json", "records/after/more.jsonl", "model/more.json"])
def test_a_file_that_the_run_did_not_write_is_named(run, name):
    write_manifest(run, files={"model/config.json": sum_of("b"), "model/m.safetensors": sum_of("c")})
    (run / name).write_text("x")
    with pytest.raises(ChangedFileError) as raised:
        check_folder(run / "model") if "model" in name else check_file(run / name)
    assert_names(str(raised.value), str(run / name), "not written by this run")


def test_what_a_kill_left_incomplete_is_no_file_of_the_run(run):
    (run / "model" / ".README.md.partial").write_text("half")
    (run / "model" / ".more.partial").mkdir()
    (run / "model" / ".more.partial" / "m.safetensors").write_text("half")
    check_folder(run / "model")
    assert folder_sums(run / "model").keys() == {"config.json", "m.safetensors"}


def test_missing_weights_are_named(run):
    (run / "model" / "m.safetensors").unlink()
    for found in (None, {"config.json": sum_of("b")}):
        with pytest.raises(ChangedFileError) as raised:
            check_folder(run / "model", found)
        assert_names(str(raised.value), "m.safetensors is missing")


def test_while_a_file_is_replaced_both_contents_are_accepted(run):
    files = {name: sum_of(text) for name, text in FILES.items()}
    write_manifest(run, files=files, writing={"results.json": sum_of("new"), "scores.json": sum_of("s")})
    check_file(run / "results.json")
    for name, text in (("results.json", "new"), ("scores.json", "s")):
        (run / name).write_text(text)
        check_file(run / name)
    (run / "results.json").write_text("third")
    with pytest.raises(ChangedFileError):
        check_file(run / "results.json")


@pytest.mark.parametrize("manifest", [None, "{}", '{"files": null}', '{"data": {}, "writing": {}}'])
def test_nothing_is_known_without_sums(run, manifest):
    """No run, or one of an earlier version."""
    (run / "manifest.json").unlink()
    if manifest is not None:
        (run / "manifest.json").write_text(manifest)
    assert read_sums(run) is None
    for name in FILES:
        (run / name).write_text("other")
        check_file(run / name)
    check_folder(run / "model")


DAMAGED = ["", "[]", "null", "{", "[" * 5000, '{"files": "x"}', '{"files": {"results.json": 1}}', '{"files": []}']


@pytest.mark.parametrize("manifest", [*DAMAGED, '{"files": {}, "writing": "x"}'])
def test_a_damaged_manifest_does_not_switch_the_checks_off(run, manifest):
    (run / "manifest.json").write_text(manifest)
    for name in FILES:
        for check in (check_file, read_checked):
            with pytest.raises(ChangedFileError) as raised:
                check(run / name)
            assert_names(str(raised.value), str(run / "manifest.json"), "damaged", "restore")
    checkpoint = run / "checkpoints" / "step-000002"
    checkpoint.mkdir(parents=True)
    for check, folder in ((check_folder, run / "model"), (checkpoint_problem, checkpoint), (read_sums, run)):
        with pytest.raises(ChangedFileError):
            check(folder)
    (run / "report.html").write_text("of which a manifest has no sum")
    check_file(run / "report.html")


def test_other_files_in_a_run_s_folder_are_not_checked(run):
    for name in ("report.html", "inputs/forget.jsonl", "model-of-mine/config.json"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("x")
        check_file(run / name)
    check_folder(run / "model-of-mine")


def test_a_manifest_of_another_tool_says_nothing(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "manifest.json").write_text('["of something else"]')
    check_folder(tmp_path / "model")
    (tmp_path / "config.yaml").write_text("method: me\n")
    with pytest.raises(ChangedFileError, match="damaged"):
        check_folder(tmp_path / "model")


def test_a_request_of_a_queue_has_the_manifest_in_its_own_folder(run):
    request = run / "requests" / "01"
    request.mkdir(parents=True)
    (request / "results.json").write_text("x")
    check_file(request / "results.json")  # nothing is known without a manifest beside it
    write_manifest(request, files={"results.json": sum_of("x")})
    check_file(request / "results.json")
    write_manifest(request, files={"results.json": sum_of("y")})
    with pytest.raises(ChangedFileError):
        check_file(request / "results.json")


def test_a_checkpoint_belongs_to_its_run(run):
    path = run / "checkpoints" / "step-000002"
    path.mkdir(parents=True)
    (path / "trained.safetensors").write_text("x")
    assert_names(checkpoint_problem(path), "was not written by this run")
    write_sums(path)
    assert_names(checkpoint_problem(path), "SHA256SUMS was not written by this run")
    write_manifest(run, files={"checkpoints/step-000002/SHA256SUMS": file_sum(path / "SHA256SUMS")})
    assert checkpoint_problem(path) is None
    (path / "SHA256SUMS").unlink()
    assert_names(checkpoint_problem(path), "SHA256SUMS is missing")


def test_the_error_is_for_users():
    assert issubclass(ChangedFileError, EffaceError)
