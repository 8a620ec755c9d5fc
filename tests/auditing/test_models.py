from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.auditing.audited_run import read_audited_run
from efface.auditing.models import AuditModels, find_models
from efface.errors import EffaceError
from efface.files.folders import RunPaths
from efface.progress.reporter import SilentReporter
from support.messages import assert_names

CPU = torch.device("cpu")


def found(run: Path, against: Path | None = None) -> AuditModels:
    return find_models(read_audited_run(run), against, CPU, SilentReporter())


def test_models_are_in_the_order_of_the_passes(hidden_run: Path, never: Path) -> None:
    models = found(hidden_run, never)
    assert list(models.sources) == ["before", "control", "after"]
    assert models.control_kind == "given"
    assert models.left_out == {}


def test_a_model_is_loaded_for_the_block(hidden_run: Path) -> None:
    source = found(hidden_run).sources["after"]
    with source.opened() as subject:
        assert subject.name == "after"
        weights = {name: each.detach().clone() for name, each in subject.model.named_parameters()}
    read = dict(source.tensors())
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], weights[name]) for name in read)
    name = next(iter(weights))
    assert torch.equal(source.tensor(name), weights[name])
    with pytest.raises(EffaceError):
        source.tensor("no.such.weight")


def test_a_control_is_the_model_of_a_run(hidden_run: Path, never: Path, tmp_path: Path) -> None:
    retrained = tmp_path / "retrained"
    retrained.mkdir()
    shutil.copytree(never, RunPaths(retrained).model)
    assert found(hidden_run, retrained).sources["control"].folder == RunPaths(retrained).model


def other_tokenizer(folder: Path, copy: Path) -> Path:
    shutil.copytree(folder, copy)
    path = copy / "tokenizer.json"
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = values["model"]["vocab"]
    first, second = list(vocabulary)[-2:]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    path.write_text(json.dumps(values), encoding="utf-8")
    return copy


def test_a_control_with_another_tokenizer_is_refused(hidden_run: Path, never: Path, tmp_path: Path) -> None:
    control = other_tokenizer(never, tmp_path / "other")
    with pytest.raises(EffaceError) as error:
        found(hidden_run, control)
    assert_names(str(error.value), "--against", str(control), "tokenizer")


def test_a_control_of_another_size_is_refused(hidden_run: Path, never: Path, tmp_path: Path) -> None:
    control = tmp_path / "other"
    shutil.copytree(never, control)
    config = control / "config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**values, "hidden_size": 2 * values["hidden_size"]}), encoding="utf-8")
    with pytest.raises(EffaceError) as error:
        found(hidden_run, control)
    assert_names(str(error.value), "--against", str(control), "hidden_size")


def test_a_model_of_the_run_is_no_control(hidden_run: Path) -> None:
    for control in (hidden_run, Path(read_audited_run(hidden_run).settings.model)):
        with pytest.raises(EffaceError) as error:
            found(hidden_run, control)
        assert_names(str(error.value), "--against", str(control), "never knew")


def test_a_control_that_is_no_model_is_refused(hidden_run: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "missing", tmp_path):
        with pytest.raises(EffaceError) as error:
            found(hidden_run, folder)
        assert_names(str(error.value), "--against")
        assert "model=FOLDER" not in str(error.value)


def test_the_base_of_the_target_is_the_control(hidden_run: Path, never: Path, tmp_path: Path) -> None:
    run = read_audited_run(hidden_run)
    target = tmp_path / "target"
    shutil.copytree(run.settings.model, RunPaths(target).model)
    manifest = run.manifest.model_copy(update={"model": str(never), "files": None})
    RunPaths(target).manifest.write_text(manifest.model_dump_json(), encoding="utf-8")
    config = RunPaths(hidden_run).config
    config.write_text(config.read_text().replace(run.settings.model, str(RunPaths(target).model)))
    models = found(hidden_run)
    assert models.control_kind == "base"
    assert models.control_name == str(never)
    shutil.copytree(other_tokenizer(never, tmp_path / "other"), never.parent / "elsewhere", dirs_exist_ok=True)
    changed = manifest.model_copy(update={"model": str(tmp_path / "other")})
    RunPaths(target).manifest.write_text(changed.model_dump_json(), encoding="utf-8")
    models = found(hidden_run)
    assert "control" not in models.sources
    assert "tokenizer" in models.left_out["control"]


def unlearned_again(run: Path, earlier: Path) -> None:
    """Make the target of a run that of an earlier run."""
    settings = read_audited_run(run).settings
    shutil.copytree(run, earlier)
    config = RunPaths(run).config
    config.write_text(config.read_text().replace(settings.model, str(RunPaths(earlier).model)))


def test_the_target_of_an_earlier_request_is_no_control(hidden_run: Path, tmp_path: Path) -> None:
    """It knew the facts of the later request."""
    unlearned_again(hidden_run, tmp_path / "earlier")
    models = found(hidden_run)
    assert "control" not in models.sources
    assert "--against" in models.left_out["control"]


def test_the_base_is_found_through_an_earlier_request(hidden_run: Path, never: Path, tmp_path: Path) -> None:
    manifest = read_audited_run(hidden_run).manifest
    target = RunPaths(tmp_path / "target")
    target.root.mkdir()
    target.manifest.write_text(manifest.model_copy(update={"model": str(never)}).model_dump_json(), encoding="utf-8")
    earlier = RunPaths(tmp_path / "earlier")
    unlearned_again(hidden_run, earlier.root)
    changed = manifest.model_copy(update={"model": str(target.model)})
    earlier.manifest.write_text(changed.model_dump_json(), encoding="utf-8")
    assert found(hidden_run).control_name == str(never)
    earlier.manifest.write_text(manifest.model_copy(update={"model": str(earlier.model)}).model_dump_json())
    assert found(hidden_run).control_kind is None  # a circle


def test_a_model_before_that_has_changed_is_left_out(hidden_run: Path, tmp_path: Path) -> None:
    manifest = RunPaths(hidden_run).manifest
    values = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({**values, "model_sha256": "0" * 64}), encoding="utf-8")
    models = found(hidden_run)
    assert "before" not in models.sources
    assert "changed" in models.left_out["before"]


def test_an_unlearned_model_that_has_changed_is_refused(hidden_run: Path) -> None:
    path = RunPaths(hidden_run).model / "config.json"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(EffaceError) as error:
        found(hidden_run)
    assert_names(str(error.value), str(path))
