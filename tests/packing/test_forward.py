"""The head is applied where its output is needed, in chunks if it is large."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import PretrainedConfig

from efface.packing import forward
from efface.packing.attention import packed_attention_enabled
from efface.packing.forward import (
    apply_head,
    chunk_rows,
    compute_logits,
    device_of,
    evaluation_mode,
    head_logits,
    hidden_states,
    max_positions,
    position_limit,
    score_targets,
    target_logprobs,
    unwrap_peft,
    vocabulary_size,
)
from efface.packing.packed_batch import pack


def gradients_and_values(model, items):
    model.zero_grad()
    with packed_attention_enabled(model):
        batch = pack(items)
        at = batch.target_positions("answer")
        logp = target_logprobs(model, hidden_states(model, batch)[at.token_index], at.targets)
    (logp * torch.linspace(-1, 1, len(logp), dtype=logp.dtype)).sum().backward()
    return logp.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_chunks_change_nothing(llama, uneven, monkeypatch, rows):
    model = llama.double()
    logp, gradients = gradients_and_values(model, uneven)
    monkeypatch.setattr(forward, "_CHUNK_ELEMENTS", rows * 97)
    chunked, chunked_gradients = gradients_and_values(model, uneven)
    torch.testing.assert_close(chunked, logp)
    for name, gradient in chunked_gradients.items():
        torch.testing.assert_close(gradient, gradients[name])


@pytest.mark.parametrize("chunked", [True, False])
def test_full_logits_are_kept_only_if_they_are_small(llama, uneven, monkeypatch, chunked):
    """The most rows of logits that are computed at once, and that are saved for the backward pass."""
    monkeypatch.setattr(forward, "_CHUNK_ELEMENTS", 5 * 97 if chunked else 1 << 26)
    computed, saved = [0], [0]

    def counting(logits, targets):
        computed.append(logits.shape[0])
        return forward.cross_entropy_logprobs(logits, targets)

    def save(tensor):
        saved.append(tensor.shape[0] if tensor.dim() == 2 and tensor.shape[1] == 97 else 0)
        return tensor

    at = pack(uneven).target_positions("answer")
    hidden = torch.randn(len(at.token_index), 32, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        loss = score_targets(llama, hidden, at.targets, counting).sum()
    loss.backward()
    total = len(at.token_index)
    assert (max(computed), max(saved)) == ((5, 0) if chunked else (total, total))


def test_chunks_of_several_tensors_stay_aligned(llama, monkeypatch):
    hidden, weights = torch.randn(9, 32), torch.arange(9.0)

    def weighted_sums(logits, weights):
        return logits.sum(-1) * weights

    expected = apply_head(llama, weighted_sums, hidden, weights)
    monkeypatch.setattr(forward, "_CHUNK_ELEMENTS", 2 * 97)
    torch.testing.assert_close(apply_head(llama, weighted_sums, hidden, weights), expected)
    with torch.no_grad():
        torch.testing.assert_close(apply_head(llama, weighted_sums, hidden, weights), expected)


def test_target_logprobs_are_log_softmax(llama):
    hidden = torch.randn(4, 32)
    targets = torch.tensor([0, 5, 96, 5])
    expected = F.log_softmax(hidden @ llama.lm_head.weight.T, dim=-1)[range(4), targets]
    torch.testing.assert_close(target_logprobs(llama, hidden, targets), expected)


def test_a_collapsed_model_has_finite_logprobs(llama):
    """Log-probs, not logs of probabilities: those are zero here."""
    hidden = torch.full((1, 32), 1e3)
    worst = (hidden @ llama.lm_head.weight.T).argmin(dim=-1)
    assert -math.inf < target_logprobs(llama, hidden, worst).item() < -1000


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.bfloat16, torch.float32)],
)
def test_logits_are_float32_or_wider(llama, dtype, expected):
    assert compute_logits(llama.to(dtype), torch.zeros(2, 32, dtype=dtype)).dtype == expected


@pytest.mark.parametrize(
    ("settings", "factor"),
    [
        ({}, 1.0),
        ({"logit_scale": 0.5}, 0.5),
        ({"lm_head_multiplier": 3.0}, 3.0),
        ({"logits_scaling": 4.0}, 0.25),
        ({"logit_scale": 2.0, "logits_scaling": 4.0}, 0.5),
    ],
)
def test_logits_are_scaled_as_the_architecture_does(settings, factor):
    hidden = torch.tensor([[1.0, -2.0]])
    logits = head_logits(lambda states: 2 * states, PretrainedConfig(**settings), hidden)
    assert logits.tolist() == [[2 * factor, -4 * factor]]


@pytest.mark.parametrize("name", ["final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap"])
def test_logits_are_capped(name):
    logits = head_logits(lambda states: states, PretrainedConfig(**{name: 3.0}), torch.tensor([[1.0, 1000.0]]))
    assert logits.tolist() == [[pytest.approx(3 * math.tanh(1 / 3)), 3.0]]


def test_properties_of_a_model(llama):
    assert vocabulary_size(llama) == 97
    assert device_of(llama) == torch.device("cpu")
    assert unwrap_peft(llama) is llama
    assert position_limit(llama) == max_positions(llama.config) == 256
    assert max_positions(PretrainedConfig()) is None


@pytest.mark.parametrize("training", [False, True])
def test_the_mode_is_restored(llama, training):
    llama.train(training)
    with evaluation_mode(llama):
        assert not llama.training
    assert llama.training == training
    with pytest.raises(KeyboardInterrupt), evaluation_mode(llama):
        raise KeyboardInterrupt
    assert llama.training == training


def test_chunk_rows_fill_the_chunk(monkeypatch):
    monkeypatch.setattr(forward, "_CHUNK_ELEMENTS", 100)
    assert [chunk_rows(vocabulary) for vocabulary in (1, 30, 100, 101)] == [100, 3, 1, 1]


@pytest.mark.parametrize(
    ("rows", "hidden", "grad", "expected"),
    [
        (100, 3, True, [100]),  # what fits is computed at once
        (110, 3, True, [20, 20, 20, 20, 20, 10]),
        (110, 40, True, [40, 40, 30]),  # not fewer rows than hidden units
        (110, 40, False, [20, 20, 20, 20, 20, 10]),
        (110, 400, True, [100, 10]),
    ],
)
def test_chunks_on_a_cpu_are_small_but_for_large_heads(monkeypatch, rows, hidden, grad, expected):
    monkeypatch.setattr(forward, "_CHUNK_ELEMENTS", 1000)
    monkeypatch.setattr(forward, "_CPU_CHUNK_ELEMENTS", 200)
    head = nn.Linear(hidden, 10, bias=False)
    model = SimpleNamespace(get_output_embeddings=lambda: head, config=PretrainedConfig())
    computed = []

    def first_logit(logits):
        computed.append(logits.shape[0])
        return logits[:, 0]

    with torch.set_grad_enabled(grad):
        found = apply_head(model, first_logit, states := torch.randn(rows, hidden))
    assert computed == expected
    torch.testing.assert_close(found, states @ head.weight[0])
