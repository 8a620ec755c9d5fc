"""The head is applied where it is read, in pieces where it is large."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from efface.packing import forward
from efface.packing.attention import packed_attention_enabled
from efface.packing.forward import (
    device_of,
    compute_logits,
    hidden_states,
    map_in_chunks,
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
def test_in_pieces_as_in_one(llama, uneven, monkeypatch, rows):
    model = llama.double()
    logp, gradients = gradients_and_values(model, uneven)
    monkeypatch.setattr(forward, "_CHUNK_ELEMENTS", rows * 97)
    pieces, piece_gradients = gradients_and_values(model, uneven)
    torch.testing.assert_close(pieces, logp)
    for name, gradient in piece_gradients.items():
        torch.testing.assert_close(gradient, gradients[name])


@pytest.mark.parametrize("chunked", [True, False])
def test_whole_logits_are_kept_only_where_they_are_small(llama, uneven, monkeypatch, chunked):
    """The largest tensor with a vocabulary's width that is made, and the largest that is kept for the backward pass."""
    monkeypatch.setattr(forward, "_CHUNK_ELEMENTS", 5 * 97 if chunked else 1 << 26)
    made, kept = [0], [0]
    original_head = forward.compute_logits

    def counting_head(model, hidden):
        logits = original_head(model, hidden)
        made.append(logits.shape[0])
        return logits

    def keep(tensor):
        kept.append(tensor.shape[0] if tensor.dim() == 2 and tensor.shape[1] == 97 else 0)
        return tensor

    monkeypatch.setattr(forward, "compute_logits", counting_head)
    at = pack(uneven).target_positions("answer")
    hidden = torch.randn(len(at.token_index), 32, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        target_logprobs(llama, hidden, at.targets).sum().backward()
    whole = len(at.token_index)
    assert (max(made), max(kept)) == ((5, 0) if chunked else (whole, whole))


def test_pieces_of_several_tensors_stay_aligned(monkeypatch):
    monkeypatch.setattr(forward, "_CHUNK_ELEMENTS", 20)
    mine, theirs = torch.randn(9, 3), torch.arange(9.0)

    def read(rows, numbers):
        return rows.sum(-1) * numbers

    expected = mine.sum(-1) * theirs
    assert torch.equal(map_in_chunks(read, 10, mine, theirs), expected)
    with torch.no_grad():
        assert torch.equal(map_in_chunks(read, 10, mine, theirs), expected)


def test_target_logprobs_are_log_softmax(llama):
    hidden = torch.randn(4, 32)
    targets = torch.tensor([0, 5, 96, 5])
    expected = F.log_softmax(hidden @ llama.lm_head.weight.T, dim=-1)[range(4), targets]
    torch.testing.assert_close(target_logprobs(llama, hidden, targets), expected)


def test_a_collapsed_model_gives_finite_logprobs(llama):
    """Log-probs, not logs of probabilities: those are zero here."""
    hidden = torch.full((1, 32), 1e3)
    worst = (hidden @ llama.lm_head.weight.T).argmin(dim=-1)
    assert -math.inf < target_logprobs(llama, hidden, worst).item() < -1000


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.bfloat16, torch.float32)],
)
def test_logits_are_single_precision_or_wider(llama, dtype, wanted):
    assert compute_logits(llama.to(dtype), torch.zeros(2, 32, dtype=dtype)).dtype == wanted


def test_size_and_place(llama):
    assert vocabulary_size(llama) == 97
    assert device_of(llama) == torch.device("cpu")
    assert unwrap_peft(llama) is llama
