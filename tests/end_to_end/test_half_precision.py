"""Training on weights in bf16: adapters on a frozen base, and all weights with 8-bit AdamW."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from efface.commands.finetune import finetune
from efface.config.commands import FinetuneConfig, RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.preflight import measure
from efface.progress.reporter import SilentReporter
from efface.run import pipeline, unlearning_stage
from efface.run.training import train
from efface.train.optimizer.optimizer import adamw8bit_unsupported_reason

pytestmark = pytest.mark.slow  # quick: bf16 models in tests/run/test_pipeline.py

CPU = torch.device("cpu")
needs_8bit = pytest.mark.skipif(
    adamw8bit_unsupported_reason(CPU) is not None, reason=f"8-bit AdamW needs {adamw8bit_unsupported_reason(CPU)}"
)
ADAPTERS = {"lora": {"r": 2, "dropout": 0.0}, "precision": "bf16"}
SMALL_STATE = {"optimizer": "adamw8bit"}


@pytest.fixture(autouse=True)
def uncompiled():
    """Compiling takes longer than all tests here."""
    with torch.compiler.set_stance("force_eager"):
        yield


@pytest.fixture
def config(settings, model_in):
    """A run of four steps from a model in a dtype."""

    def make(stored: torch.dtype, how: dict[str, Any], **changes: Any) -> RunConfig:
        few = {"epochs": 1, "batch_size": 5, "lr": 1e-2, "save_steps": 1, **how}
        return validate_config(
            RunConfig, merge_settings(settings, {"model": str(model_in(stored)), "train": few, **changes})
        )

    return make


@pytest.fixture
def trained(monkeypatch):
    """The dtypes of each model before it is trained, and of all gradients and what is trained after it."""
    seen: list[tuple[set[torch.dtype], set[torch.dtype], set[torch.dtype]]] = []

    def watched(loaded, *arguments, **settings):
        before = {p.dtype for p in loaded.model.parameters()}
        gradients: set[torch.dtype] = set()
        ask = settings["reference"]

        def watching(trainer):
            for parameter in trainer.model.parameters():
                if parameter.requires_grad:
                    parameter.register_hook(lambda gradient: gradients.add(gradient.dtype))
            return ask(trainer)

        parallel = train(loaded, *arguments, **{**settings, "reference": watching})
        seen.append((before, gradients, {p.dtype for p in parallel.model.parameters() if p.requires_grad}))
        return parallel

    for module in (unlearning_stage, measure, sys.modules["efface.commands.finetune"]):
        monkeypatch.setattr(module, "train", watched)
    return seen


def steps(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


class Dying(SilentReporter):
    def on_step(self, log):
        if log.step == 3:
            raise KeyboardInterrupt


BF16, FLOAT32 = {torch.bfloat16}, {torch.float32}


def test_adapters_train_in_float32_on_a_base_in_bf16(config, tmp_path, trained):
    """At the first step nothing is learned: NPO is 2/beta log 2 and the KL zero, as against no other model."""
    out = tmp_path / "run"
    pipeline.unlearn(config(torch.bfloat16, ADAPTERS, method="npo+kl"), out)
    assert trained == [(BF16, FLOAT32, FLOAT32)]
    assert manifest(out)["precision"].startswith("adapters and optimizer float32, base bf16, training bf16, ")
    first, *_, last = steps(out)
    assert first["forget"] == pytest.approx(2 / 0.1 * math.log(2), abs=1e-3)
    assert first["retain"] == pytest.approx(0, abs=1e-5)
    assert last["forget"] < first["forget"] - 1


def test_training_in_float32_keeps_the_base_in_float32(config, tmp_path, trained):
    pipeline.unlearn(config(torch.bfloat16, {**ADAPTERS, "precision": "float32"}), tmp_path / "run")
    assert trained == [(FLOAT32, FLOAT32, FLOAT32)]


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float32])
def test_adapters_are_merged_into_the_weights_as_they_were_stored(config, tmp_path, stored):
    from peft import PeftModel

    settings, out = config(stored, ADAPTERS), tmp_path / "run"
    pipeline.unlearn(settings, out)
    model = AutoModelForCausalLM.from_pretrained(out / "model")
    assert model.dtype == stored
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(settings.model), out / "adapter")
    changed = 0
    for name, weight in model.named_parameters():
        layer = adapted.get_base_model().get_submodule(name.rpartition(".")[0])
        if not hasattr(layer, "get_delta_weight"):
            assert torch.equal(weight, layer.weight)
            continue
        exact = layer.base_layer.weight.float() + layer.get_delta_weight("default").float()
        assert torch.equal(weight, exact.to(stored))  # rounded once
        changed += not torch.equal(weight, layer.base_layer.weight)
    assert changed > 5


@needs_8bit
def test_all_weights_in_bf16_with_8_bit_adamw(config, tmp_path, trained):
    """Killed and resumed, it ends with the same weights, and with the same optimizer though memory is now free."""
    settings, out, cut = config(torch.float32, SMALL_STATE), tmp_path / "run", tmp_path / "cut"
    pipeline.unlearn(settings, out)
    assert trained == [(BF16, BF16, BF16)]
    assert manifest(out)["optimizer"] == "adamw8bit"
    words = "weights bf16 with stochastic rounding, AdamW states 8 bit, training bf16, evaluation float32"
    assert manifest(out)["precision"] == words
    assert manifest(out)["versions"]["torchao"]
    assert AutoModelForCausalLM.from_pretrained(out / "model").dtype == torch.float32  # as it came
    with pytest.raises(KeyboardInterrupt):
        pipeline.unlearn(settings, cut, reporter=Dying())
    pipeline.unlearn(settings, cut, resume=True)
    assert (cut / "model" / "model.safetensors").read_bytes() == (out / "model" / "model.safetensors").read_bytes()


@needs_8bit
def test_a_resumed_run_keeps_the_optimizer_that_was_chosen_for_it(config, tmp_path, trained, monkeypatch):
    """`auto` found little memory when the run began, and finds much when it goes on."""
    settings, out = config(torch.bfloat16, {}), tmp_path / "run"
    with monkeypatch.context() as small:
        small.setattr("efface.models.auto_optimizer.choose_optimizer", lambda *_, **__: "adamw8bit")
        with pytest.raises(KeyboardInterrupt):
            pipeline.unlearn(settings, out, reporter=Dying())
    pipeline.unlearn(settings, out, resume=True)
    assert [before for before, _, _ in trained] == [BF16]
    assert manifest(out)["optimizer"] == "adamw8bit"
    assert [step["step"] for step in steps(out)] == [1, 2, 3, 4]


@needs_8bit
def test_fine_tuning_too(config, tmp_path, trained):
    made = config(torch.bfloat16, SMALL_STATE).model_dump()
    settings = {name: made[name] for name in ("model", "data", "text", "train")}
    folder = finetune(validate_config(FinetuneConfig, settings), tmp_path / "run")
    assert trained == [(BF16, BF16, BF16)]
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.bfloat16
    assert manifest(tmp_path / "run")["optimizer"] == "adamw8bit"
    losses = [step["retain"] for step in steps(tmp_path / "run")]
    assert losses[-1] < losses[0]


def test_all_weights_in_float32_without_autocast(config, tmp_path, trained):
    """Killed and resumed it ends with the same weights, which were not rounded to bf16."""
    how = {"precision": "bf16", "autocast": False, "watch": True}
    settings, out, cut = config(torch.float32, how, method="npo+kl"), tmp_path / "run", tmp_path / "cut"
    pipeline.unlearn(settings, out)
    assert trained == [(FLOAT32, FLOAT32, FLOAT32)]
    assert manifest(out)["precision"].startswith("weights and optimizer float32, training bf16, ")
    watched, first, *_ = steps(out)
    assert watched["epoch"] == 0
    assert first["forget"] == pytest.approx(2 / 0.1 * math.log(2), abs=1e-3)
    assert first["retain"] == pytest.approx(0, abs=1e-5)
    saved = AutoModelForCausalLM.from_pretrained(out / "model")
    assert saved.dtype == torch.float32
    assert all(not torch.equal(each, each.bfloat16().float()) for each in saved.parameters())
    with pytest.raises(KeyboardInterrupt):
        pipeline.unlearn(settings, cut, reporter=Dying())
    pipeline.unlearn(settings, cut, resume=True)
    assert (cut / "model" / "model.safetensors").read_bytes() == (out / "model" / "model.safetensors").read_bytes()


def test_a_live_reference_computes_as_training_does(config, tmp_path):
    how = {"precision": "bf16", "autocast": False, "kl_reference": "live"}
    live, cached = (config(torch.float32, {**how, "kl_reference": kind}, method="ga+kl") for kind in ("live", "cached"))
    pipeline.unlearn(live, tmp_path / "live")
    pipeline.unlearn(cached, tmp_path / "cached")
    values = [[step["retain"] for step in steps(tmp_path / kind)] for kind in ("live", "cached")]
    assert values[0] == pytest.approx(values[1], rel=0.02, abs=1e-5)
    assert values[0][0] == pytest.approx(0, abs=1e-5)


@needs_8bit
def test_what_is_measured_before_is_trained_alike(config, trained):
    found = measure.measure(config(torch.bfloat16, SMALL_STATE), steps=1, data_dir=None, reporter=SilentReporter())
    assert found.steps.count == 1
    assert trained == [(BF16, BF16, BF16)]
