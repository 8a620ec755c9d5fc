"""Runs on a quantized base: what trains, what the reference is, and that unquantized weights are saved."""

from __future__ import annotations

import json
import math
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, MixtralConfig

from efface.commands.evaluate import evaluate_model
from efface.commands.finetune import finetune
from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.errors import EffaceError
from efface.models.quantization import is_quantized
from efface.progress.reporter import SilentReporter
from efface.run import pipeline, unlearning_stage
from efface.run.training import train
from support.quantized import SIZES, STORED, stored_quantized, wide_llama

pytestmark = pytest.mark.slow  # quick: loading in tests/models/test_quantization.py

pytest.importorskip("bitsandbytes")

LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture(scope="module")
def wide(source, tmp_path_factory):
    """A tiny Llama in bf16 whose sizes are multiples of the blocks that are quantized together."""
    return wide_llama(source, tmp_path_factory.mktemp("wide"))


@pytest.fixture
def config(settings, wide):
    """The settings of a run of four steps with an adapter on quantized weights."""

    def make(bits, **changes):
        lora = {"r": 2, "dropout": 0.3, "bits": bits}
        train = {"lora": lora, "epochs": 1, "batch_size": 5, "lr": 1e-2, "save_steps": 1}
        return validate_config(
            RunConfig, merge_settings(settings, merge_settings({"model": str(wide), "train": train}, changes))
        )

    return make


@pytest.fixture
def trains(monkeypatch):
    """For each training: whether the model that it starts from is quantized."""
    seen = []

    def watched(loaded, *arguments, **settings):
        seen.append(is_quantized(loaded.model))
        return train(loaded, *arguments, **settings)

    monkeypatch.setattr(unlearning_stage, "train", watched)
    monkeypatch.setattr(sys.modules["efface.commands.finetune"], "train", watched)
    return seen


def steps(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("bits", [4, pytest.param(8, marks=pytest.mark.slow)])
def test_the_reference_is_the_quantized_base(config, tmp_path, trains, bits):
    """At the first step nothing is learned: NPO is 2/beta log 2 and the KL zero, as against no other model."""
    pipeline.run(config(bits, method="npo+kl", train={"lora": {"dropout": 0.0}}), tmp_path / "run")
    assert trains == [True]
    assert f"training float32 on a base in {bits} bits, " in (tmp_path / "run" / "manifest.json").read_text()
    first, *_, last = steps(tmp_path / "run")
    atol = 1e-5 if bits == 4 else 1e-2
    assert first["forget"] == pytest.approx(2 / 0.1 * math.log(2), abs=100 * atol)
    assert first["retain"] == pytest.approx(0, abs=atol)
    assert last["forget"] < first["forget"] - 1
    assert last["retain"] > 10 * abs(first["retain"]) + 1e-5


class Dying(SilentReporter):
    def on_step(self, log):
        if log.step == 3:
            raise KeyboardInterrupt


@pytest.mark.parametrize("bits", [4, pytest.param(8, marks=pytest.mark.slow)])
def test_full_weights_are_saved_with_the_adapter_merged(config, wide, tmp_path, bits):
    from peft import PeftModel

    out, cut = tmp_path / "run", tmp_path / "cut"
    pipeline.run(config(bits), out)
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    assert model.dtype == torch.bfloat16
    assert {type(p) for p in model.parameters()} == {torch.nn.Parameter}
    assert "quantization_config" not in json.loads((out / "model" / "config.json").read_text())
    base = AutoModelForCausalLM.from_pretrained(wide)
    assert torch.equal(model.lm_head.weight, base.lm_head.weight)
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(wide), out / "adapter")
    for name, layer in model.model.layers[0].mlp.named_children():
        if name in LINEAR:
            wanted = adapted.get_base_model().model.layers[0].mlp.get_submodule(name)
            exact = wanted.base_layer.weight.float() + wanted.get_delta_weight("default").float()
            assert not torch.equal(layer.weight, wanted.base_layer.weight)
            torch.testing.assert_close(layer.weight.float(), exact, rtol=2**-7, atol=1e-5)  # quantized once to bf16
    with pytest.raises(KeyboardInterrupt):
        pipeline.unlearn(config(bits), cut, reporter=Dying())
    pipeline.unlearn(config(bits), cut, resume=True)
    for file in ("model/model.safetensors", "adapter/adapter_model.safetensors"):
        assert (cut / file).read_bytes() == (out / file).read_bytes()


def test_fine_tuning_on_quantized_weights(config, tmp_path, trains):
    made = config(4).model_dump()
    settings = {name: made[name] for name in ("model", "data", "text", "train")}
    folder = finetune(validate_config(FinetuneConfig, settings), tmp_path / "run")
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.bfloat16
    assert trains == [True]
    losses = [step["retain"] for step in steps(tmp_path / "run")]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("how", STORED)
def test_a_model_stored_quantized_is_evaluated_and_not_trained(settings, wide, tmp_path, how):
    shared = {key: value for key, value in settings.items() if key in EvaluationConfig.model_fields}
    folder = str(stored_quantized(wide, tmp_path / "stored", how))
    scores, full = (
        evaluate_model(validate_config(EvaluationConfig, shared | {"model": name}), tmp_path / number)
        for number, name in (("quantized", folder), ("full", str(wide)))
    )
    for name, ours in scores.sets.items():
        assert ours.probability == pytest.approx(full.sets[name].probability, rel=0.5)
        assert ours.probability != full.sets[name].probability
    with pytest.raises(EffaceError, match=rf"{folder} is stored quantized \(bitsandbytes\)"):
        pipeline.run(validate_config(RunConfig, settings | {"model": folder}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Refused before anything is written


def test_without_bitsandbytes(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(EffaceError, match=r"train\.lora\.bits=4 needs bitsandbytes"):
        pipeline.run(config(4), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_experts_would_stay_unquantized(config, source, tmp_path):
    sizes = SIZES | {"num_local_experts": 2, "num_experts_per_tok": 1}
    AutoModelForCausalLM.from_config(MixtralConfig(**sizes)).save_pretrained(tmp_path / "experts")
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path / "experts")
    with pytest.raises(EffaceError, match=r"train.lora.bits=8: bitsandbytes does not quantize the experts of Mixtral"):
        pipeline.run(config(8, model=str(tmp_path / "experts")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_bits_do_not_exist(config):
    with pytest.raises(EffaceError, match=r"train.lora.bits=3: input should be 4 or 8"):
        config(3)
