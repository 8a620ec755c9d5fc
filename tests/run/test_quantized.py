"""Adapters on a base rounded to 4 or 8 bits: what is rounded, what trains, and that whole weights are saved."""

from __future__ import annotations

import json
import math
import sys

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MixtralConfig,
)

from efface.commands.evaluate import evaluate_model
from efface.commands.finetune import finetune
from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.parse import merge_settings, validate_config
from efface.errors import EffaceError
from efface.models.load import load_model
from efface.models.lora import add_adapters, check_quantization, is_quantized, quantization_config
from efface.packing.logprobs import answer_logprobs
from efface.packing.support import check_packing
from efface.progress.reporter import SilentReporter
from efface.run import pipeline, unlearning_stage
from efface.run.training import train
from efface.text.formatter import TokenizedSequence
from efface.train import token_budget
from efface.train.config import LoRAConfig, TrainConfig

bitsandbytes = pytest.importorskip("bitsandbytes")

CPU = torch.device("cpu")
IDS = torch.tensor([[5, 60, 7, 8, 90, 11, 12, 13]])
LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
SIZES = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


@pytest.fixture(scope="module")
def wide(source, tmp_path_factory):
    """A tiny Llama in bf16 whose sizes are multiples of the blocks that are rounded together."""
    folder = tmp_path_factory.mktemp("wide")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**SIZES, initializer_range=0.1))
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


@pytest.fixture
def config(settings, wide):
    """The settings of a run of four steps with an adapter on rounded weights."""

    def make(bits, **changes):
        lora = {"r": 2, "dropout": 0.3, "bits": bits}
        train = {"lora": lora, "epochs": 1, "batch_size": 5, "lr": 1e-2, "save_steps": 1}
        return validate_config(
            RunConfig, merge_settings(settings, merge_settings({"model": str(wide), "train": train}, changes))
        )

    return make


@pytest.fixture
def trains(monkeypatch):
    """For each training: whether the model that it starts from is rounded."""
    seen = []

    def watched(model, *arguments, **settings):
        seen.append(is_quantized(model))
        return train(model, *arguments, **settings)

    monkeypatch.setattr(unlearning_stage, "train", watched)
    monkeypatch.setattr(sys.modules["efface.commands.finetune"], "train", watched)
    return seen


def rounded(folder, bits, precision="float32"):
    how = quantization_config(TrainConfig(lora=LoRAConfig(bits=bits), precision=precision), CPU)
    return load_model(folder, dtype=torch.float32, device=CPU, quantization=how)


@torch.no_grad()
def logits(model):
    return model.eval()(IDS).logits.clone()


def steps(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("bits", "kind", "size"), [(4, "Params4bit", 0.5), (8, "Int8Params", 1)])
def test_linear_layers_but_the_head_are_rounded(wide, bits, kind, size):
    model, whole = rounded(wide, bits), load_model(wide, dtype=torch.float32, device=CPU)
    assert is_quantized(model)
    assert not is_quantized(whole)
    weights = dict(whole.named_parameters())
    for name, parameter in model.named_parameters():
        if name.split(".")[-2] in LINEAR:
            assert type(parameter).__name__ == kind
            assert parameter.nbytes == size * weights[name].numel()
        else:
            assert parameter.dtype == torch.float32
            assert torch.equal(parameter, weights[name])
    change = (logits(model) - logits(whole)).abs().max()
    assert 1e-4 < change < 0.5 * logits(whole).abs().max()


@pytest.mark.parametrize("bits", [4, 8])
def test_only_the_adapter_trains_and_is_what_memory_is_asked_for(wide, monkeypatch, bits):
    monkeypatch.setattr(token_budget, "free_memory", lambda device: 2**33)
    config = TrainConfig(lora=LoRAConfig(bits=bits, r=3))
    model = add_adapters(rounded(wide, bits), config.lora, seed=0)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(".lora_" in name and p.dtype == torch.float32 for name, p in trainable.items())
    assert {name.split(".lora_")[0].rsplit(".", 1)[1] for name in trainable} == LINEAR
    same = add_adapters(load_model(wide, dtype=torch.float32, device=CPU), config.lora, seed=0)
    assert sum(p.numel() for p in trainable.values()) == sum(p.numel() for p in same.parameters() if p.requires_grad)
    assert token_budget.token_budget_for(model, config).tokens == token_budget.token_budget_for(same, config).tokens


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_four_bits_are_multiplied_in_the_precision_of_training(wide, precision, dtype):
    layer = rounded(wide, 4, precision).model.layers[0].mlp.up_proj
    assert layer.compute_dtype == dtype
    assert layer.weight.quant_type == "nf4"


@pytest.mark.parametrize("bits", [4, 8])
@torch.no_grad()
def test_a_rounded_model_is_packed_as_one_by_one(wide, bits):
    model = rounded(wide, bits)
    model.model.layers[0].input_layernorm.weight[3] = 5  # makes outliers, which 8 bits treat apart
    assert check_packing(model) is None
    items = [TokenizedSequence(str(n), [0, n + 5], list(range(n + 9, n + 12 + 3 * n))) for n in range(5)]
    packed = answer_logprobs(model, items, max_tokens_per_forward=1000)
    for item, ours in zip(items, packed, strict=True):
        [alone] = answer_logprobs(model, [item], max_tokens_per_forward=1000)
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(alone), rtol=0, atol=1e-5 if bits == 4 else 0.05)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_reference_is_the_rounded_base(config, tmp_path, trains, bits):
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


@pytest.mark.parametrize("bits", [4, 8])
def test_whole_weights_are_saved_with_the_adapter_merged(config, wide, tmp_path, bits):
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
            torch.testing.assert_close(layer.weight.float(), exact, rtol=2**-7, atol=1e-5)  # rounded once to bf16
    with pytest.raises(KeyboardInterrupt):
        pipeline.unlearn(config(bits), cut, reporter=Dying())
    pipeline.unlearn(config(bits), cut, resume=True)
    for file in ("model/model.safetensors", "adapter/adapter_model.safetensors"):
        assert (cut / file).read_bytes() == (out / file).read_bytes()


def test_fine_tuning_on_rounded_weights(config, tmp_path, trains):
    made = config(4).model_dump()
    settings = {name: made[name] for name in ("model", "data", "text", "train")}
    folder = finetune(validate_config(FinetuneConfig, settings), tmp_path / "run")
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.bfloat16
    assert trains == [True]
    losses = [step["retain"] for step in steps(tmp_path / "run")]
    assert losses[-1] < losses[0]


@torch.no_grad()
def test_four_bits_have_the_same_gradients_before_and_after_an_evaluation(wide):
    """bitsandbytes packs them anew in evaluation mode, on some CPUs, for a kernel without gradients."""
    model = add_adapters(rounded(wide, 4), LoRAConfig(r=2, dropout=0.0), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.fill_(0.02)

    def gradients():
        model.train().zero_grad()
        with torch.enable_grad():
            model(IDS).logits.square().sum().backward()
        return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    before = gradients()
    model.eval()(IDS)
    for ours, earlier in zip(gradients(), before, strict=True):
        torch.testing.assert_close(ours, earlier)


# Models that are stored rounded


STORED = {
    "8 bits": {"load_in_8bit": True},
    "4 bits": {"load_in_4bit": True},
    "4 bits in bf16": {"load_in_4bit": True, "bnb_4bit_quant_storage": torch.bfloat16},
}


@pytest.fixture
def stored(wide, tmp_path):
    """The folder of the model as bitsandbytes rounds it, with its tokenizer."""

    def make(how):
        folder = tmp_path / "stored"
        settings = BitsAndBytesConfig(**STORED[how])
        AutoModelForCausalLM.from_pretrained(wide, quantization_config=settings).save_pretrained(folder)
        AutoTokenizer.from_pretrained(wide).save_pretrained(folder)
        return folder

    return make


@pytest.mark.parametrize("how", STORED)
def test_a_model_stored_rounded_computes_what_plain_transformers_does(stored, wide, how):
    folder = stored(how)
    model = load_model(folder, dtype=torch.float32, device=CPU)
    assert is_quantized(model)
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    plain.train(how != "8 bits")  # 4 bits are packed anew in evaluation mode, 8 are multiplied otherwise in training
    with torch.no_grad():
        plain = plain(IDS).logits
    assert check_packing(model) is None
    assert torch.equal(logits(model), plain)
    change = (plain - logits(load_model(wide, dtype=torch.float32, device=CPU))).abs().max()
    assert 1e-4 < change < 0.5 * plain.abs().max()


@pytest.mark.parametrize("how", STORED)
def test_a_model_stored_rounded_is_evaluated_and_not_trained(settings, stored, wide, tmp_path, how):
    own = {key: value for key, value in settings.items() if key in EvaluationConfig.model_fields}
    folder = str(stored(how))
    scores, whole = (
        evaluate_model(validate_config(EvaluationConfig, own | {"model": name}), tmp_path / number)
        for number, name in (("rounded", folder), ("whole", str(wide)))
    )
    for name, ours in scores.sets.items():
        assert ours.probability == pytest.approx(whole.sets[name].probability, rel=0.5)
        assert ours.probability != whole.sets[name].probability
    with pytest.raises(EffaceError, match=rf"{folder} is stored in few bits \(bitsandbytes\), which training cannot"):
        pipeline.run(validate_config(RunConfig, settings | {"model": folder}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("8 bits", r"stores model.layers.0.mlp.down_proj.SCB, which the layer in its config.json does not have, "),
        ("4 bits", r"stores model.layers.0.mlp.down_proj.weight as \[4096, 1\], where its .* wants \[64, 128\]; give"),
    ],
)
def test_a_config_that_does_not_tell_of_rounding(stored, how, sentence):
    folder = stored(how)
    config = json.loads((folder / "config.json").read_text())
    del config["quantization_config"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(EffaceError, match=f"model {folder} {sentence}") as raised:
        load_model(folder, dtype=torch.float32, device=CPU)
    assert "\n" not in str(raised.value)


# Refused before anything is written


def test_without_bitsandbytes(config, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    sentence = r"train.lora.bits=4 needs bitsandbytes; install it with: pip install 'efface\[quantized\]'"
    with pytest.raises(EffaceError, match=sentence):
        pipeline.run(config(4), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("bits", "function"), [(4, "quantize_4bit"), (8, "int8_vectorwise_quant")])
def test_a_device_that_bitsandbytes_does_not_know(monkeypatch, bits, function):
    def fails(*_, **__):
        raise NotImplementedError("no kernel\nbacktrace")

    check_quantization(LoRAConfig(bits=bits), CPU)
    monkeypatch.setattr(bitsandbytes.functional, function, fails)
    with pytest.raises(EffaceError, match=rf"train.lora.bits={bits}: .* does not work on cpu here \(no kernel\); inst"):
        check_quantization(LoRAConfig(bits=bits), CPU)
    check_quantization(LoRAConfig(), CPU)


def test_experts_would_stay_whole(config, source, tmp_path):
    sizes = SIZES | {"num_local_experts": 2, "num_experts_per_tok": 1}
    AutoModelForCausalLM.from_config(MixtralConfig(**sizes)).save_pretrained(tmp_path / "experts")
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path / "experts")
    with pytest.raises(EffaceError, match=r"train.lora.bits=8: bitsandbytes does not round the experts of Mixtral"):
        pipeline.run(config(8, model=str(tmp_path / "experts")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_bits_do_not_exist(config):
    with pytest.raises(EffaceError, match=r"train.lora.bits=3: input should be 4 or 8"):
        config(3)
