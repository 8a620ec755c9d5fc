"""Other kernels in a training step: the same losses and gradients, and everything as it was afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import transformers as hf
from pydantic import ValidationError
from transformers.models.llama import modeling_llama

from efface.errors import EffaceError
from efface.models.lora import add_adapters
from efface.packing import attention
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.kernels import check_kernels, replaced, replacements
from efface.train.optimizer.optimizer import missing_compiler
from efface.train.precision import bf16_weights
from support.kernels import LIGER, OF_LIGER, SIZES, assert_as_far, assert_close, built, step
from support.messages import assert_names
from support.tiny import VOCABULARY
from support.training import TRAIN, assert_equal, weights

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
COMPILED = TRAIN.model_copy(update={"kernels": "compiled"})
FUNCTIONS = ("liger_rms_norm", "liger_swiglu", "liger_rope")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """liger-kernel replaced by the operations of transformers; its functions as they are called."""
    called: list[str] = []

    def liger_rms_norm(x: Any, weight: Any, eps: float, *, in_place: bool) -> Any:
        called.append("liger_rms_norm")
        assert not in_place
        return modeling_llama.LlamaRMSNorm.forward(SimpleNamespace(weight=weight, variance_epsilon=eps), x)  # type: ignore[arg-type]

    def liger_swiglu(gate: Any, up: Any) -> Any:
        called.append("liger_swiglu")
        return torch.nn.functional.silu(gate) * up

    def liger_rope(q: Any, k: Any, cos: Any, sin: Any, *, unsqueeze_dim: int) -> Any:
        called.append("liger_rope")
        return rotate(q, k, cos, sin, unsqueeze_dim)

    rotate = modeling_llama.apply_rotary_pos_emb
    functional = ModuleType("liger_kernel.transformers.functional")
    vars(functional).update({each.__name__: each for each in (liger_rms_norm, liger_swiglu, liger_rope)})
    for name in ("liger_kernel", "liger_kernel.transformers"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, functional.__name__, functional)
    return called


def test_by_default_nothing_is_replaced():
    assert replacements(built("llama"), TrainConfig()) == ()


@pytest.mark.parametrize("name", OF_LIGER)
def test_norms_swiglu_and_rotary_embeddings_go_through_liger(name, calls):
    model = built(name)
    expected = step(model)
    assert_equal(step(model, replacements(model, LIGER)), expected)
    norms = 5 + (4 if name == "qwen3" else 0)  # with those of queries and keys
    assert [calls.count(each) for each in FUNCTIONS] == [norms, 2, 2]


def test_a_training_uses_liger_in_its_steps_alone(train, calls):
    rotate = modeling_llama.apply_rotary_pos_emb
    model, _, logs = train(config=LIGER)
    per_step = len(calls) // len(logs)
    assert per_step >= 9
    assert len(calls) == per_step * len(logs)
    assert all("forward" not in vars(each) for each in model.modules())
    assert modeling_llama.apply_rotary_pos_emb is rotate
    expected, *_ = train(config=TRAIN)
    assert_equal(weights(model), weights(expected))


def test_adapters_are_trained_with_liger(calls):
    model = add_adapters(built("llama"), LoRAConfig(r=2, dropout=0.0), seed=0)
    expected = step(model)
    assert_equal(step(model, replacements(model, LIGER)), expected)
    assert calls


def test_everything_is_put_back_after_an_error(calls):
    model, rotate = built("llama"), modeling_llama.apply_rotary_pos_emb
    hooked = model.model.layers[0].mlp
    before = hooked.forward = hooked.forward  # as accelerate's hooks do

    def fail() -> None:
        with replaced(replacements(model, LIGER)):
            assert modeling_llama.apply_rotary_pos_emb is not rotate
            assert hooked.forward is not before
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert modeling_llama.apply_rotary_pos_emb is rotate
    assert [each for each in model.modules() if "forward" in vars(each)] == [hooked]
    assert hooked.forward is before


def test_architectures_that_are_not_covered_are_refused():
    gpt2 = hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=VOCABULARY, n_embd=8, n_layer=1, n_head=1))
    with pytest.raises(EffaceError) as error:
        replacements(gpt2, LIGER)
    assert_names(str(error.value), "train.kernels=liger", "gpt2", "llama", "train.kernels=torch")
    gelu = hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES, hidden_act="gelu"))
    with pytest.raises(EffaceError) as error:
        replacements(gelu, LIGER)
    assert_names(str(error.value), "train.kernels=liger", "gelu", "train.kernels=torch")


def test_without_a_gpu_or_the_package_liger_is_refused(monkeypatch):
    check_kernels(TrainConfig(), CPU)
    with pytest.raises(EffaceError) as error:
        check_kernels(LIGER, CPU)
    assert_names(str(error.value), "train.kernels=liger", "CUDA", "cpu", "train.kernels=torch")
    monkeypatch.setattr("efface.train.kernels.find_spec", lambda _: None)
    with pytest.raises(EffaceError) as error:
        check_kernels(LIGER, CUDA)
    assert_names(str(error.value), "train.kernels=liger", "liger-kernel", "[liger]")
    monkeypatch.setattr("efface.train.kernels.find_spec", lambda _: "found")
    check_kernels(LIGER, CUDA)


def test_without_a_compiler_layers_are_not_compiled(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(EffaceError) as error:
        check_kernels(COMPILED, CPU)
    assert_names(str(error.value), "train.kernels=compiled", "no-such-compiler", "CXX", "train.kernels=torch")


@pytest.mark.parametrize("sharding", ["fsdp2", "zero3"])
@pytest.mark.parametrize("kernels", ["liger", "compiled"])
def test_sharded_layers_keep_their_kernels(kernels, sharding):
    with pytest.raises(ValidationError) as error:
        TrainConfig(kernels=kernels, sharding=sharding)
    assert_names(str(error.value), f"kernels={kernels}", f"sharding={sharding}")


def test_layers_with_adapters_are_not_compiled():
    with pytest.raises(ValidationError) as error:
        TrainConfig(kernels="compiled", lora=LoRAConfig())
    assert_names(str(error.value), "kernels=compiled", "lora")


def test_compiled_are_the_layers_and_not_their_packed_attention(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: partial(_counted, seen, function, dynamic))
    model, seen, attend = built("qwen3"), list[bool](), attention.packed_attention
    expected = step(model)
    assert_equal(step(model, replacements(model, COMPILED)), expected)
    assert seen == [True, True]
    assert attention.packed_attention is attend
    assert all("forward" not in vars(each) for each in model.modules())


def _counted(seen: list[bool], function: Any, dynamic: bool, *arguments: Any, **named: Any) -> Any:
    seen.append(dynamic)
    return function(*arguments, **named)


compiler = pytest.mark.skipif(missing_compiler(CPU) is not None, reason="there is no C++ compiler")


@pytest.mark.slow
@compiler
@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma2", "padded"])
def test_compiled_layers_give_the_same_losses_and_gradients(name):
    model = built(name)
    expected = step(model)
    actual = step(model, replacements(model, COMPILED))
    assert any(not torch.equal(actual[each], value) for each, value in expected.items()), "not compiled"
    assert_close(actual, expected, tolerance=1e-5)


@pytest.mark.slow
@compiler
def test_every_training_of_a_process_is_compiled():
    with torch._dynamo.config.patch(recompile_limit=4):  # in place of eight
        for number, dtype in enumerate((torch.float32, torch.float64)):
            model = built("llama").to(dtype)
            actual = step(model, replacements(model, COMPILED))
            assert any(not torch.equal(actual[each], value) for each, value in step(model).items()), number


@pytest.mark.slow
@compiler
@pytest.mark.parametrize("context", [lambda _: torch.autocast("cpu", torch.bfloat16), bf16_weights])
def test_compiled_layers_round_no_more_in_bf16(context):
    model = built("llama")
    exact, items = step(model), replacements(model, COMPILED)
    assert_as_far(step(model, items, context(model)), step(model, context=context(model)), exact)


@pytest.mark.slow
@compiler
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_training_with_compiled_layers_is_compiled_once_and_resumes(train, tmp_path, checkpointing):
    settings = {"kernels": "compiled", "save_steps": 2, "gradient_checkpointing": checkpointing}
    config = TRAIN.model_copy(update=settings)
    whole, *_ = train(config=config, on_trainer=lambda _: torch._dynamo.utils.counters.clear())
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs == 0 if checkpointing else 0 < graphs < 7, "one for each length of a batch"
    train(config=config, folder=tmp_path / "killed", stop_after=5)
    resumed, *_ = train(config=config, folder=tmp_path / "killed", resume=True)
    assert_equal(weights(resumed), weights(whole))


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("liger_kernel") is None or find_spec("triton") is None, reason="liger-kernel or triton is not installed"
)
def test_ligers_kernels_give_the_losses_and_gradients_of_transformers():
    tests = str(Path(__file__).parents[1])
    environment = {**os.environ, "TRITON_INTERPRET": "1"}  # read when triton is imported
    environment["PYTHONPATH"] = os.pathsep.join([tests, *filter(None, sys.path)])
    command = [sys.executable, "-m", "support.kernels"]
    ended = subprocess.run(command, env=environment, cwd=tests, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
