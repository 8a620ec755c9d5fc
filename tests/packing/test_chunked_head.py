"""Chunks of the output head give the gradients of one matrix product, whatever the dtype and what the head has."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from efface.packing import forward
from efface.packing.chunked_head import score_in_chunks

V, H, N = 50, 16, 23


def score(logits, targets, other):
    """Like a loss against a reference: cross-entropy, and a product with logits of another model."""
    logits = 2 * logits.float() if logits.dtype != torch.float64 else 2 * logits
    return -F.cross_entropy(logits, targets, reduction="none") + (logits.softmax(-1) * other).sum(-1)


def computed(head, hidden, compute, context=nullcontext):
    """Scores, and gradients of states, weight and bias."""
    generator = torch.Generator().manual_seed(5)
    targets = torch.randint(0, V, (N,), generator=generator)
    other, upstream = torch.randn(N, V, generator=generator), torch.randn(N, generator=generator)
    hidden = hidden.clone().requires_grad_()
    head.zero_grad()
    with context():
        scores = compute(hidden, targets, other)
        scores.backward(upstream.to(scores.dtype))
    return [scores.detach(), hidden.grad, *(each.grad for each in head.parameters())]


def made(dtype, *, bias):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return nn.Linear(H, V, bias=bias, dtype=dtype), torch.randn(N, H, dtype=dtype)


@pytest.mark.parametrize("rows", [1, 7, N, 100])
@pytest.mark.parametrize("bias", [False, True])
def test_scores_and_gradients_are_those_of_one_product(rows, bias):
    head, hidden = made(torch.float64, bias=bias)
    whole = computed(head, hidden, lambda states, *more: score(head(states), *more))
    chunked = computed(head, hidden, lambda states, *more: score_in_chunks(head, score, rows, states, *more))
    torch.testing.assert_close(chunked, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_under_autocast_and_in_bf16(weights):
    """The states have the dtype of the weights; gradients, too."""
    head, hidden = made(weights, bias=True)

    def autocast():
        return torch.autocast("cpu", torch.bfloat16)

    whole = computed(head, hidden, lambda states, *more: score(head(states), *more), autocast)
    chunked = computed(head, hidden, lambda states, *more: score_in_chunks(head, score, 7, states, *more), autocast)
    assert [each.dtype for each in chunked] == [each.dtype for each in whole]
    for ours, expected in zip(chunked, whole, strict=True):
        torch.testing.assert_close(ours, expected, rtol=2e-2, atol=2e-2 * float(expected.abs().max()))


def test_a_later_call_of_the_head_under_autocast_keeps_its_gradient():
    head, hidden = made(torch.float32, bias=False)
    with torch.autocast("cpu", torch.bfloat16):
        score_in_chunks(head, lambda logits: logits.sum(-1), 7, hidden)
        head(hidden).sum().backward()
    assert head.weight.grad.abs().max() > 0


def test_a_frozen_head_gets_no_gradient():
    head, hidden = made(torch.float64, bias=True)
    head.requires_grad_(False)
    found = computed(head, hidden, lambda states, *more: score_in_chunks(head, score, 7, states, *more))
    assert found[2:] == [None, None]
    expected = computed(head, hidden, lambda states, *more: score(head(states), *more))
    torch.testing.assert_close(found[1], expected[1])


def test_one_tensor_as_large_as_the_weights_is_made(llama, monkeypatch):
    """Autograd would make one for each chunk, and add them."""
    monkeypatch.setattr(forward, "_CHUNK_ELEMENTS", 5 * 97)

    class Watching(TorchDispatchMode):
        as_large = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            new = isinstance(result, torch.Tensor) and not func.is_view and func.name() != "aten::addmm_"
            self.as_large += bool(new and result.shape == (97, 32))
            return result

    hidden = torch.randn(40, 32, requires_grad=True)
    with Watching() as watching:
        forward.target_logprobs(llama, hidden, torch.arange(40)).sum().backward()
    assert watching.as_large <= 2  # zeros, and what they are filled into
    assert llama.lm_head.weight.grad.abs().max() > 0


@pytest.mark.parametrize("change", ["subclass", "linear"])
def test_heads_of_another_class_are_recomputed(llama, uneven, monkeypatch, change):
    """Adapters and quantized layers compute more than a matrix product."""

    class Doubled(nn.Linear):
        def forward(self, states):
            return 2 * super().forward(states)

    if change == "subclass":
        llama.lm_head.__class__ = Doubled
    hidden, targets = torch.randn(40, 32), torch.arange(40)
    expected = forward.target_logprobs(llama, hidden, targets)
    monkeypatch.setattr(forward, "_CHUNK_ELEMENTS", 5 * 97)
    torch.testing.assert_close(forward.target_logprobs(llama, hidden, targets), expected)
