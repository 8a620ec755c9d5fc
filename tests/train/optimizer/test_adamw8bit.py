"""8-bit AdamW over flat buffers gives the moments and, without stochastic rounding, the weights of torchao's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from efface.train.optimizer import adamw8bit
from efface.train.optimizer.adamw8bit import AdamW8bit, has_8bit_moments, state_elements
from efface.train.optimizer.optimizer import adamw8bit_unsupported_reason

REASON = adamw8bit_unsupported_reason(torch.device("cpu"))
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"8-bit AdamW needs {REASON}")
SHAPES = ((64, 64), (128, 64), (128, 50), (96, 128), (7,), (32, 2))


@pytest.fixture(autouse=True)
def uncompiled() -> Iterator[None]:
    """Compiling takes longer than all tests here."""
    with torch.compiler.set_stance("force_eager"):
        yield


def parameters(dtype: torch.dtype) -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape).to(dtype)) for shape in SHAPES]


def groups(weights: list[nn.Parameter]) -> list[dict[str, Any]]:
    return [
        {"params": [each for each in weights if each.ndim == 2], "weight_decay": 0.1},
        {"params": [each for each in weights if each.ndim == 1], "weight_decay": 0.0},
    ]


def step(optimizer: Any, weights: list[nn.Parameter], numbers: range) -> None:
    """One step for each number, with gradients from it."""
    for number in numbers:
        torch.manual_seed(number)
        for weight in weights:
            weight.grad = torch.randn(weight.shape).to(weight.dtype)
        torch.manual_seed(number)  # of stochastic rounding
        optimizer.step()


def torchao_optimizer(weights: list[nn.Parameter]) -> Any:
    from torchao.optim import AdamW8bit as PerParameter

    return PerParameter(groups(weights), lr=1e-2)


@pytest.mark.parametrize("chunk", [256, 256 * 20, adamw8bit._CHUNK])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_computes_what_torchao_computes(chunk: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adamw8bit, "_CHUNK", chunk)
    weights, expected = parameters(dtype), parameters(dtype)
    flat, theirs = AdamW8bit(groups(weights), lr=1e-2), torchao_optimizer(expected)
    step(flat, weights, range(3))
    step(theirs, expected, range(3))
    for weight, same in zip(weights, expected, strict=True):
        state, reference = flat.state[weight], theirs.state[same]
        if "exp_avg_codes" in state:
            assert torch.equal(state["exp_avg_codes"], reference["exp_avg"].codes.flatten())
            assert torch.equal(state["exp_avg_sq_scale"], reference["exp_avg_sq"].scale)
        else:
            assert torch.equal(state["exp_avg"], reference["exp_avg"].flatten())
        rounding = 0.0 if dtype == torch.float32 else 3 * 2**-7 * float(same.detach().abs().max())
        assert float((weight - same).detach().abs().max()) <= rounding


def test_where_rows_are_sharded_they_are_whole_blocks() -> None:
    assert has_8bit_moments(torch.empty(64, 576))
    assert not has_8bit_moments(torch.empty(64, 576), by_rows=True)
    assert has_8bit_moments(torch.empty(64, 512), by_rows=True)
    assert not has_8bit_moments(torch.empty(8192), by_rows=True)
    assert not has_8bit_moments(torch.empty(4, 512), by_rows=True)
    assert state_elements("exp_avg_codes", range(512, 2048)) == range(512, 2048)
    assert state_elements("exp_avg_scale", range(512, 2048)) == range(2, 8)


def test_which_moments_have_8_bits() -> None:
    weights = parameters(torch.bfloat16)
    optimizer = AdamW8bit(groups(weights), lr=1e-2)
    step(optimizer, weights, range(1))
    small = ["exp_avg_codes" in optimizer.state[weight] for weight in weights]
    assert small == [True, True, True, True, False, False]


@pytest.mark.parametrize("of_torchao", [False, True], ids=["its own", "torchao's"])
def test_it_continues_from_saved_moments(of_torchao: bool) -> None:
    weights = parameters(torch.float32)
    first = torchao_optimizer(weights) if of_torchao else AdamW8bit(groups(weights), lr=1e-2)
    step(first, weights, range(2))
    again = [nn.Parameter(each.detach().clone()) for each in weights]
    loaded = AdamW8bit(groups(again), lr=1e-2)
    loaded.load_state_dict(first.state_dict())
    step(first, weights, range(2, 4))
    step(loaded, again, range(2, 4))
    assert all(torch.equal(one, other) for one, other in zip(weights, again, strict=True))


def test_weights_without_a_gradient_stay() -> None:
    weights = parameters(torch.bfloat16)
    before = weights[0].detach().clone()
    optimizer = AdamW8bit(groups(weights), lr=1e-2)
    for weight in weights[1:]:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert torch.equal(weights[0], before)
    assert weights[0] not in optimizer.state


def test_a_few_calls_for_any_number_of_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = [nn.Parameter(torch.ones(64, 64, dtype=torch.bfloat16)) for _ in range(30)]
    calls = []
    monkeypatch.setattr(adamw8bit, "_update", lambda flat, start, end, pieces: calls.append(end - start))
    monkeypatch.setattr(adamw8bit, "_CHUNK", 40_960)
    optimizer = AdamW8bit([{"params": weights, "weight_decay": 0.1}], lr=1e-2)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert calls == [40_960] * 3
