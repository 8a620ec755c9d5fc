"""AdamW in float32, and in bf16 with 8-bit moments and stochastic rounding."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import get_linear_schedule_with_warmup

from efface.errors import EffaceError
from efface.objectives.method import fine_tuning
from efface.objectives.terms import Reference
from efface.train.batches.schedule import Schedule
from efface.train.checkpoints import checkpoint
from efface.train.config import LoRAConfig, TrainConfig
from efface.train.loop import Trainer
from efface.train.optimizer import adamw8bit, optimizer
from efface.train.optimizer.optimizer import (
    adamw8bit_unsupported_reason,
    check_optimizer,
    make_optimizer,
    state_bytes,
    weights_dtype,
)

CPU = torch.device("cpu")
EIGHT = TrainConfig(optimizer="adamw8bit", lr=1e-5)
needs_8bit = pytest.mark.skipif(
    adamw8bit_unsupported_reason(CPU) is not None, reason=f"8-bit AdamW needs {adamw8bit_unsupported_reason(CPU)}"
)


class Matrices(nn.Module):
    """Nothing but weights, all of them `start`, and the method that the optimizer needs of a model."""

    def __init__(self, *shapes: tuple[int, ...], dtype: torch.dtype, start: float = 0.02) -> None:
        super().__init__()
        self.each = nn.ParameterList(nn.Parameter(torch.full(shape, start, dtype=dtype)) for shape in shapes)

    def get_input_embeddings(self) -> Any:
        return SimpleNamespace(weight=self.each[0])


def stepped(model: Matrices, config: TrainConfig, count: int, seed: int = 0) -> torch.optim.Optimizer:
    """Steps with gradients of one: AdamW goes down by the learning rate in each."""
    made = make_optimizer(model, config)
    for number in range(count):
        torch.manual_seed(1000 * seed + number)
        for weight in model.parameters():
            weight.grad = torch.ones_like(weight)
        made.step()
    return made


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """Compiling takes longer than all tests here."""
    with torch.compiler.set_stance("force_eager"):
        yield


# Steps


@needs_8bit
@pytest.mark.parametrize("how", ["force_eager", pytest.param("default", marks=pytest.mark.real)])
def test_steps_far_below_the_rounding_of_bf16_add_up(how: Any) -> None:
    """The next number to 0.02 in bf16 is 1.2e-4 away, and a step is 1e-5. Compiling takes long."""
    with torch.compiler.set_stance(how):
        check_small_steps()


def check_small_steps() -> None:
    shape, still = (64, 64), EIGHT.model_copy(update={"weight_decay": 0.0})
    stochastic, plain, exact = (Matrices(shape, dtype=d) for d in (torch.bfloat16, torch.bfloat16, torch.float32))
    stepped(stochastic, still, 20)
    stepped(exact, TrainConfig(lr=1e-5, weight_decay=0), 20)
    stepped(plain, TrainConfig(lr=1e-5, weight_decay=0), 20)
    start = torch.tensor(0.02, dtype=torch.bfloat16).item()
    moved = start - stochastic.each[0].float().mean().item()
    assert 0.02 - exact.each[0].mean().item() == pytest.approx(20e-5, rel=1e-3)
    assert moved == pytest.approx(20e-5, rel=0.05)
    assert plain.each[0].unique().tolist() == [start]
    assert len(stochastic.each[0].unique()) > 2


@needs_8bit
def test_the_seed_decides_the_rounding(uncompiled: None) -> None:
    once, again, other = (Matrices((64, 64), dtype=torch.bfloat16) for _ in range(3))
    for model, seed in ((once, 1), (again, 1), (other, 2)):
        stepped(model, EIGHT, 3, seed)
    assert torch.equal(once.each[0], again.each[0])
    assert not torch.equal(once.each[0], other.each[0])


@needs_8bit
def test_warm_up_and_decay_apply_to_it(uncompiled: None) -> None:
    model = Matrices((64, 64), dtype=torch.bfloat16, start=0.0)
    made = make_optimizer(model, TrainConfig(optimizer="adamw8bit", lr=1e-2))
    warm = get_linear_schedule_with_warmup(made, 1, 3)
    means = []
    for _ in range(3):
        model.each[0].grad = torch.ones_like(model.each[0])
        made.step()
        warm.step()
        means.append(-model.each[0].float().mean().item())
    assert means == pytest.approx([0, 0.01, 0.015], rel=0.02)


def test_matrices_decay_and_others_do_not() -> None:
    model = Matrices((3, 4), (4,), (2, 3, 4), dtype=torch.float32)
    model.each[0].requires_grad_(False)
    groups = make_optimizer(model, TrainConfig(weight_decay=0.5)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert [[p.ndim for p in group["params"]] for group in groups] == [[3], [1]]


@pytest.mark.parametrize(
    ("device", "parameters", "fused"), [("cpu", 3, None), ("cpu", 4, True), ("cuda", 3, True), ("mps", 4, None)]
)
def test_one_kernel_a_step_on_a_gpu_and_for_large_models(
    device: str, parameters: int, fused: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizer, "_FUSED_FROM", 4)
    monkeypatch.setattr(optimizer, "device_of", lambda _: torch.device(device))
    monkeypatch.setattr(torch.optim, "AdamW", lambda groups, **settings: settings)
    made: Any = make_optimizer(Matrices((parameters,), dtype=torch.float32), TrainConfig(lr=3e-4))
    assert made == {"lr": 3e-4, "fused": fused}


# Memory


@pytest.mark.parametrize("kind", ["adamw", pytest.param("adamw8bit", marks=needs_8bit)])
def test_state_bytes_are_exact(kind: Any, uncompiled: None) -> None:
    config = TrainConfig(optimizer=kind)
    shapes = (64, 64), (128, 50), (4100, 1), (32, 2), (7,)  # whole blocks; not whole; few values
    model = Matrices(*shapes, dtype=weights_dtype(config, "cpu"))
    made = stepped(model, config, 1)
    for weight in model.parameters():
        assert state_bytes(weight, config) == sum(each.nbytes for each in made.state[weight].values())


@pytest.mark.parametrize(
    ("config", "on_cpu", "on_cuda"),
    [
        (TrainConfig(), torch.float32, torch.float32),
        (EIGHT, torch.bfloat16, torch.bfloat16),
        (TrainConfig(lora=LoRAConfig()), torch.float32, torch.bfloat16),
        (TrainConfig(lora=LoRAConfig(), precision="bf16"), torch.bfloat16, torch.bfloat16),
        (TrainConfig(lora=LoRAConfig(), precision="float32"), torch.float32, torch.float32),
    ],
)
def test_the_dtype_that_weights_are_loaded_in(config: TrainConfig, on_cpu: torch.dtype, on_cuda: torch.dtype) -> None:
    assert (weights_dtype(config, "cpu"), weights_dtype(config, "cuda")) == (on_cpu, on_cuda)
    assert EIGHT.bf16_on("cpu")


# Resuming


@needs_8bit
def test_a_resumed_run_is_the_same_as_an_uninterrupted_one(
    tmp_path: Any, tiny_llama: Any, random_steps: Any, monkeypatch: pytest.MonkeyPatch, uncompiled: None
) -> None:
    monkeypatch.setattr(adamw8bit, "BLOCK", 16)
    monkeypatch.setattr(adamw8bit, "_MIN_8BIT", 16)
    monkeypatch.setattr(adamw8bit, "_CHUNK", 160)
    schedule = Schedule(steps=6, warmup_steps=2, steps_per_epoch=2)
    steps = random_steps(6, 3, "retain")
    config = TrainConfig(lr=1e-2, optimizer="adamw8bit", save_steps=2)

    def train(folder: Any, count: int, *, resume: bool = False) -> tuple[Trainer, list[float]]:
        model = tiny_llama(dtype=torch.bfloat16)
        trainer, rates = Trainer(model, fine_tuning(), config, schedule, seed=3, folder=folder), []
        trainer.run(steps[:count], Reference(), resume=resume, on_step=lambda log: rates.append(log.lr))
        return trainer, rates

    whole, rates = train(tmp_path / "whole", 6)
    train(tmp_path / "cut", 5)  # whose last checkpoint is that of step 4
    assert checkpoint.latest(tmp_path / "cut" / "checkpoints")[0] == 4
    resumed, last = train(tmp_path / "cut", 6, resume=True)
    assert [type(rate) for rate in rates] == [float] * 6
    assert last == rates[4:]
    for actual, expected in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert actual.dtype == torch.bfloat16
        assert torch.equal(actual, expected)


# What is missing


def test_without_torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizer, "find_spec", lambda name: None)
    with pytest.raises(EffaceError, match=r"adamw8bit needs torchao, .*\[lowmem\]"):
        make_optimizer(Matrices((2, 2), dtype=torch.bfloat16), EIGHT)
    check_optimizer(TrainConfig(), CPU)


@pytest.mark.parametrize(("device", "variable", "compiler"), [("cpu", "CXX", "+"), ("cuda", "CC", "gcc")])
def test_without_a_compiler(device: str, variable: str, compiler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []
    monkeypatch.setattr(optimizer, "find_spec", lambda name: object())
    monkeypatch.setattr(optimizer.shutil, "which", lambda name: name if name in installed else None)
    monkeypatch.delenv(variable, raising=False)
    reason = adamw8bit_unsupported_reason(torch.device(device))
    assert reason is not None
    assert compiler in reason
    assert reason.endswith(f"install one, or name another in {variable}")
    installed.append("my-compiler")
    monkeypatch.setenv(variable, "my-compiler")
    assert adamw8bit_unsupported_reason(torch.device(device)) is None
