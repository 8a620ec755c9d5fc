"""Going on with the adapter of an earlier run: on the model that it is for, from its weights, compared with `model`."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from efface.artifacts import Manifest
from efface.config.commands import FinetuneConfig, RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.errors import EffaceError
from efface.models.folder import model_sha256
from efface.run.pipeline import unlearn
from efface.run.preparation.starting_adapter import find_adapter
from efface.train.config import LoRAConfig
from support.messages import assert_names

LORA = {"r": 2, "dropout": 0.0}
SHORT = {"epochs": 1, "batch_size": 10}
"""Two steps."""


@pytest.fixture(scope="module")
def config(settings):
    base = merge_settings(settings, {"train": {**SHORT, "lora": LORA}})
    return lambda **changes: validate_config(RunConfig, merge_settings(base, changes))


@pytest.fixture(scope="module")
def first(config, tmp_path_factory):
    """The folder of a run that trained an adapter; not to be changed."""
    out = tmp_path_factory.mktemp("adapters") / "first"
    unlearn(config(), out)
    return out


def kept(config, first, **changes):
    return config(**merge_settings({"model": str(first / "model"), "train": {"lora": {"adapter": "keep"}}}, changes))


def copy_without_sums(run, folder):
    """A copy whose files may be changed: without the manifest, which has their sums."""
    shutil.copytree(run, folder)
    (folder / "manifest.json").unlink()


def adapter(run):
    return load_file(run / "adapter" / "adapter_model.safetensors")


def losses(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_training_starts_at_the_saved_weights(config, first, source, tmp_path):
    still = {"train": {"lr": 1e-30, "weight_decay": 0}}
    unlearn(kept(config, first, **still), tmp_path / "kept")
    unlearn(config(model=str(first / "model"), **still), tmp_path / "new")
    for name, value in adapter(first).items():
        assert torch.equal(adapter(tmp_path / "kept")[name], value)
    assert any(not torch.equal(adapter(tmp_path / "new")[name], value) for name, value in adapter(first).items())
    models = [load_file(run / "model" / "model.safetensors") for run in (first, tmp_path / "kept", tmp_path / "new")]
    for name, value in models[0].items():
        assert all(torch.allclose(other[name], value, atol=1e-6) for other in models[1:])
    bases = [
        json.loads((run / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"]
        for run in (tmp_path / "kept", tmp_path / "new")
    ]
    assert bases == [str(source), str(first / "model")]


def test_the_manifest_says_what_the_adapter_is_for(config, first, source, tmp_path):
    unlearn(kept(config, first), tmp_path / "kept")
    manifests = [
        Manifest.model_validate_json((run / "manifest.json").read_text()) for run in (first, tmp_path / "kept")
    ]
    assert [each.adapter.base for each in manifests] == [str(source)] * 2
    assert [each.adapter.base_sha256 for each in manifests] == [model_sha256(source)] * 2
    file = first / "adapter" / "adapter_model.safetensors"
    assert [each.adapter.continues for each in manifests] == [None, hashlib.sha256(file.read_bytes()).hexdigest()]
    assert manifests[1].model == str(first / "model")


@pytest.mark.parametrize("mode", ["cached", "live", "auto"])
def test_kl_compares_with_the_model_before_this_run(config, first, tmp_path, mode):
    """Not with the trained model without its adapters, which has forgotten nothing."""
    unlearn(kept(config, first, method="me+kl", train={"kl_reference": mode, "lr": 0.05}), tmp_path / "kept")
    start, later = losses(tmp_path / "kept")
    assert abs(start["retain"]) < 1e-6
    assert later["retain"] > 1e-4


@pytest.mark.slow
def test_resumed_inside_the_training(config, first, tmp_path, monkeypatch):
    from efface.train.loop import Trainer

    settings = kept(config, first, method="npo+kl", train={"epochs": 2, "save_steps": 1, "lora": {"dropout": 0.3}})
    unlearn(settings, tmp_path / "whole")
    update = Trainer._update

    def stopped(trainer, number, grad_norm):
        if number == 3:
            raise KeyboardInterrupt
        return update(trainer, number, grad_norm)

    monkeypatch.setattr(Trainer, "_update", stopped)
    with pytest.raises(KeyboardInterrupt):
        unlearn(settings, tmp_path / "parts")
    monkeypatch.undo()
    unlearn(settings, tmp_path / "parts", resume=True)
    assert [each["loss"] for each in losses(tmp_path / "parts")] == [
        each["loss"] for each in losses(tmp_path / "whole")
    ]
    assert all(
        torch.equal(value, adapter(tmp_path / "parts")[name]) for name, value in adapter(tmp_path / "whole").items()
    )


def test_another_adapter_since_the_run_started(config, first, tmp_path):
    copy_without_sums(first, tmp_path / "first")
    settings = kept(config, tmp_path / "first")
    unlearn(settings, tmp_path / "kept")
    file = tmp_path / "first" / "adapter" / "adapter_model.safetensors"
    changed = {name: value + 1 for name, value in load_file(file).items()}
    file.unlink()
    save_file(changed, file)
    with pytest.raises(EffaceError) as refused:
        unlearn(settings, tmp_path / "kept", resume=True)
    assert_names(str(refused.value), "--resume", "adapter", "another --out")


def test_there_is_no_adapter_beside_the_model(source):
    with pytest.raises(EffaceError) as refused:
        find_adapter(str(source), LoRAConfig(adapter="keep"))
    assert_names(str(refused.value), str(source.parent / "adapter"), "train.lora.adapter=new")
    assert find_adapter(str(source), LoRAConfig()) is find_adapter(str(source), None) is None


def test_an_adapter_of_other_sizes_or_damaged(first, tmp_path):
    with pytest.raises(EffaceError) as refused:
        find_adapter(str(first / "model"), LoRAConfig(adapter="keep", r=4))
    assert_names(str(refused.value), str(first / "adapter"), "train.lora.r", "4", "2")
    copy_without_sums(first, tmp_path / "first")
    (tmp_path / "first" / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(EffaceError) as refused:
        find_adapter(str(tmp_path / "first" / "model"), LoRAConfig(adapter="keep", r=2))
    assert_names(str(refused.value), "adapter_config.json", "train.lora.adapter=new")


def test_a_base_on_the_hub_has_its_revision(first, source, tmp_path, monkeypatch):
    copy_without_sums(first, tmp_path / "first")
    file = tmp_path / "first" / "adapter" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": "o/n", "revision": "v1"}))
    asked = []
    monkeypatch.setattr(
        "efface.run.preparation.starting_adapter.model_folder", lambda name: asked.append(name) or Path(source)
    )
    found = find_adapter(str(tmp_path / "first" / "model"), LoRAConfig(adapter="keep", r=2))
    assert (asked, found.base, found.origin.base) == (["o/n@v1"], source, "o/n@v1")


def test_an_adapter_of_other_layers(config, first, tmp_path):
    copy_without_sums(first, tmp_path / "first")
    file = tmp_path / "first" / "adapter" / "adapter_model.safetensors"
    renamed = {name.replace("q_proj", "other_proj"): value for name, value in load_file(file).items()}
    file.unlink()
    save_file(renamed, file)
    with pytest.raises(EffaceError) as refused:
        unlearn(kept(config, tmp_path / "first"), tmp_path / "kept")
    assert_names(str(refused.value), str(file.parent), "_proj", "train.lora.adapter=new")


def test_fine_tuning_goes_on_with_no_adapter(settings):
    values = {"model": settings["model"], "data": settings["data"], "train": {"lora": {"adapter": "keep"}}}
    with pytest.raises(EffaceError) as refused:
        validate_config(FinetuneConfig, values)
    assert_names(str(refused.value), "train", "lora.adapter=keep", "new")


def test_an_adapter_that_its_run_did_not_write_is_refused(config, first, tmp_path):
    copy = shutil.copytree(first, tmp_path / "copy")
    lora = kept(config, copy).train.lora
    find_adapter(str(copy / "model"), lora)
    file = copy / "adapter" / "adapter_model.safetensors"
    save_file({name: value + 1 for name, value in load_file(file).items()}, file)
    with pytest.raises(EffaceError) as raised:
        find_adapter(str(copy / "model"), lora)
    assert_names(str(raised.value), str(file), "not what the run wrote")
