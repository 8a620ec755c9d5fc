"""A run's folder refuses other content, and never contains an incomplete file."""

from __future__ import annotations

import json
import os

import pytest
import yaml

from efface.artifacts import Manifest
from efface.config.commands import FinetuneConfig, RunConfig
from efface.config.parse import read_yaml, validate_config
from efface.errors import EffaceError
from efface.files.folder_lock import HOLDER, LOCK, held
from efface.run.folder import RunFolder, claims_folder
from efface.train.step_log import StepLog
from support.messages import assert_names


@pytest.fixture
def config(settings):
    return validate_config(RunConfig, settings)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "runs" / "one")


def log(step):
    return StepLog(step=step, steps=9, loss=1.5, forget=1.0, retain=0.5, grad_norm=2.0, lr=1e-5, tokens=9, seconds=0.1)


@pytest.mark.parametrize("resume", [False, True])
def test_a_new_or_empty_folder_will_do_and_nothing_is_written(folder, config, resume):
    folder.check(config, resume=resume)
    assert not folder.root.exists()
    folder.root.mkdir(parents=True)
    folder.check(config, resume=resume)
    (folder.root / ".config.yaml.partial").write_text("half")  # a kill left it
    folder.check(config, resume=resume)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_of_something_else_is_refused(folder, config, resume):
    folder.root.mkdir(parents=True)
    (folder.root / "thesis.tex").write_text("")
    with pytest.raises(EffaceError, match="is not empty and contains no run; choose another folder"):
        folder.check(config, resume=resume)


def test_a_file_is_refused(folder, config):
    folder.root.parent.mkdir()
    folder.root.write_text("")
    with pytest.raises(EffaceError, match="is a file; give a folder"):
        folder.check(config, resume=False)


def test_a_place_that_cannot_be_written_is_refused_before_any_work(folder, config, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(EffaceError, match=f"--out .*one: {folder.root.parent.parent} cannot be written; choose"):
        folder.check(config, resume=False)


def test_a_run_is_only_touched_to_resume_it_with_the_same_settings(folder, config, made):
    folder.start(config, made)
    with pytest.raises(EffaceError, match="already contains a run; continue it with --resume or choose another folder"):
        folder.check(config, resume=False)
    folder.check(config, resume=True)
    other = config.model_copy(update={"seed": 1})
    with pytest.raises(EffaceError, match="has other settings than these"):
        folder.check(other, resume=True)
    folder.config.write_bytes(b"\xff\xfe")
    with pytest.raises(EffaceError, match="is not UTF-8 text"):
        folder.check(config, resume=True)


def test_a_run_of_a_version_with_fewer_settings_can_be_resumed(folder, config, made):
    folder.start(config, made)
    saved = yaml.safe_load(folder.config.read_text())
    del saved["tokenizer"], saved["text"]["boundary"], saved["text"]["date"], saved["text"]["system"]
    folder.config.write_text(yaml.safe_dump(saved))
    folder.check(config, resume=True)
    for changed in (
        config.model_copy(update={"tokenizer": "elsewhere"}),
        config.model_copy(update={"text": config.text.model_copy(update={"boundary": "separate"})}),
    ):
        with pytest.raises(EffaceError, match="has other settings than these"):
            folder.check(changed, resume=True)
    del saved["method"]
    folder.config.write_text(yaml.safe_dump(saved))
    with pytest.raises(EffaceError, match="has other settings than these"):
        folder.check(config, resume=True)


@pytest.mark.parametrize("kind", [RunConfig, FinetuneConfig])
def test_config_yaml_read_back_is_the_config(folder, settings, made, kind):
    values = {key: value for key, value in settings.items() if key in kind.model_fields}
    values["train"] = values["train"] | {"lora": {"r": 4}, "lr": 1e-5, "max_grad_norm": 0.3}
    config = validate_config(kind, values)
    folder.start(config, made)
    assert validate_config(kind, read_yaml(folder.config)) == config


def test_the_manifest_comes_back(folder, config, made):
    assert folder.read_manifest() is None
    folder.start(config, made)
    assert folder.read_manifest() == made
    assert Manifest(**json.loads((folder.root / "manifest.json").read_text())) == made
    (folder.root / "manifest.json").write_text('{"seed": 3}')
    with pytest.raises(EffaceError, match=r"manifest.json is damaged; start over in another --out"):
        folder.read_manifest()


def test_one_line_a_step(folder):
    folder.root.mkdir(parents=True)
    for step in (1, 2, 3):
        folder.append_step(log(step))
    lines = folder.metrics.read_text().splitlines()
    assert [StepLog(**json.loads(line)) for line in lines] == [log(1), log(2), log(3)]


@pytest.mark.parametrize("line", [b'{"step": 1', b'{"st\xb6p": 1}\n'])
def test_steps_that_are_trained_again_are_dropped_and_so_is_a_damaged_line(folder, line):
    folder.drop_steps_after(0)  # nothing there yet
    folder.root.mkdir(parents=True)
    for step in (1, 2, 3):
        folder.append_step(log(step))
    with folder.metrics.open("ab") as file:
        file.write(line)
    folder.drop_steps_after(2)
    assert [json.loads(line)["step"] for line in folder.metrics.read_text().splitlines()] == [1, 2]


@pytest.mark.parametrize("line", [b'{"kept_at_least": 1', b'{"kept_at_least": 1}\n', b"\xb6\n"])
def test_damaged_looks_at_the_bound_are_named(folder, line):
    folder.root.mkdir(parents=True)
    folder.metrics.write_bytes(line)
    with pytest.raises(EffaceError) as error:
        folder.read_keep_logs()
    assert_names(str(error.value), str(folder.metrics), "damaged", "--out")


def test_a_full_disk_leaves_no_half_line(folder, files_of_at_most):
    folder.root.mkdir(parents=True)
    folder.append_step(log(1))
    whole = folder.metrics.read_text()
    with (
        files_of_at_most(len(whole) + 20),
        pytest.raises(EffaceError, match="free some space, then continue with --res"),
    ):
        folder.append_step(log(2))
    assert folder.metrics.read_text() == whole


def test_a_full_disk_leaves_no_half_file(folder, config, made, results, files_of_at_most):
    folder.start(config, made)
    with files_of_at_most(30), pytest.raises(EffaceError, match=r"cannot write .*results.json: File too large"):
        folder.write_results(results(0.5))
    assert sorted(path.name for path in folder.root.iterdir()) == ["config.yaml", "manifest.json"]


def test_records_count_once_every_set_is_there(folder):
    assert folder.read_records("before", ["forget", "retain"]) is None
    folder.write_records("before", {"forget": []})
    assert folder.read_records("before", ["forget", "retain"]) is None


# The lock


def test_a_held_folder_is_checked_once(folder, config, monkeypatch):
    looks = []
    monkeypatch.setattr(RunFolder, "_check_content", lambda self, config, *, resume: looks.append(resume))
    with folder.claimed(config, resume=True):
        with RunFolder(folder.root).claimed(config, resume=True):  # as a run that the library started
            RunFolder(folder.root).check(config, resume=True)
        assert looks == [True]
        folder.check(config.model_copy(update={"seed": 7}), resume=True)  # of something else
        assert looks == [True, True]
    folder.check(config, resume=True)  # as a dry run
    assert looks == [True, True, True]


def test_a_command_holds_its_folder_from_the_check_to_its_end(folder, config, made):
    @claims_folder(RunFolder)
    def command(config, out, *, resume=False):
        assert held(out) is not None
        RunFolder(out).start(config, made)
        return resume

    assert command(config, folder.root) is False
    assert held(folder.root) is None
    with pytest.raises(EffaceError, match="already contains a run"):
        command(config, folder.root)
    assert command(config, folder.root, resume=True) is True
    assert sorted(path.name for path in folder.root.iterdir()) == ["config.yaml", "manifest.json"]


def test_files_of_a_lock_are_no_content(folder, config):
    folder.root.mkdir(parents=True)
    for name in (LOCK, HOLDER):
        (folder.root / name).write_text("")
    folder.check(config, resume=False)
