"""From a model and the sequences of a micro-batch to the value of each term.

All sequences are in one packed forward pass, with two exceptions: each term that also sums over padding has a forward
pass of its own over rows, and the terms that read one layer have one that ends at this layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, islice
from typing import Any

import torch
from torch import Tensor

from efface.hardware.device import copy_to_device
from efface.objectives.terms import DistributionTerm, Reference, SequenceTerm, StateTerm, Term, TokenTerm, View, Views
from efface.packing.forward import (
    apply_head,
    device_of,
    hidden_states,
    target_logprobs,
)
from efface.packing.layers import layer_states
from efface.packing.packed_batch import PackedBatch, TargetPositions, pack
from efface.packing.padded_rows import padded_hidden_states
from efface.text.sequence import TokenizedSequence


@dataclass(frozen=True)
class _ForwardPass:
    """The results of one packed forward pass."""

    model: Any
    batch: PackedBatch
    hidden: Tensor
    """[T, H], shared tokens once."""
    spans: Mapping[View, range]
    """The sequences of the batch that belong to each view."""


def term_values(
    model: Any,
    terms: Sequence[Term],
    views: Views,
    divisors: Sequence[Sequence[float]],
    reference: Reference,
) -> list[Tensor]:
    """Compute the share of a micro-batch in the loss of each term over the whole optimizer batch.

    Args:
        model: a causal language model inside `efface.packing.support.packed_or_padded(model)`.
        terms: the terms of the objective.
        views: the sequences that the terms read, item by item in the same order.
        divisors: for each term and item, what `efface.objectives.terms.divisors` gave for the whole optimizer batch.
        reference: what the terms need from the reference model.

    Returns:
        A scalar with gradient for each term.
    """
    packed = [term for term in terms if not isinstance(term, StateTerm) and not _reads_rows(term)]
    forward = _run_forward(model, views, packed) if packed else None
    logprobs = _answer_logprobs(forward, packed) if forward is not None else {}
    inside = {
        layer: _run_forward(model, views, [each for each in terms if _reads_layer(each, layer)], layer)
        for layer in dict.fromkeys(term.reads.layer for term in terms if isinstance(term, StateTerm))
    }
    values = []
    for term, divisors_B in zip(terms, divisors, strict=True):
        if isinstance(term, SequenceTerm):
            loss_B = _sequence_loss(term, views, logprobs, reference)
        elif isinstance(term, TokenTerm):
            loss_B = torch.stack([term.loss(logp_N).sum() for logp_N in logprobs[term.view]])
        elif isinstance(term, StateTerm):
            loss_B = _state_loss(term, inside[term.reads.layer], views[term.view], reference)
        elif term.row_length is not None:
            loss_B = _row_loss(term, model, views[term.view], reference)
        else:
            assert forward is not None
            loss_B = _distribution_loss(term, forward, views, reference)
        values.append((loss_B / _tensor_like(loss_B, divisors_B)).sum())
    return values


def _run_forward(model: Any, views: Views, terms: Sequence[Term], layer: int | None = None) -> _ForwardPass:
    """One forward pass for some terms, up to a layer if one is given."""
    names = tuple(dict.fromkeys(view for term in terms for view in _computed_views(term)))
    spans: dict[View, range] = {}
    start = 0
    for name in names:
        spans[name] = range(start, start + len(views[name]))
        start += len(views[name])
    batch = pack(list(chain.from_iterable(views[name] for name in names)), device_of(model))
    hidden = hidden_states(model, batch) if layer is None else layer_states(model, batch, layer)
    return _ForwardPass(model, batch, hidden, spans)


def _computed_views(term: Term) -> Sequence[View]:
    """The views of which a term needs more than token ids."""
    return (term.view,) if isinstance(term, DistributionTerm) else term.views


def _answer_logprobs(forward: _ForwardPass, terms: Sequence[Term]) -> dict[View, tuple[Tensor, ...]]:
    """For each view that a token or sequence term reads: log-probs of answer tokens, a tensor for each sequence.

    One call of the head for all views: each call has a gradient as large as the head.
    """
    needed = dict.fromkeys(view for term in terms if not isinstance(term, DistributionTerm) for view in term.views)
    if not needed:
        return {}
    at = forward.batch.target_positions("answer", list(chain.from_iterable(forward.spans[view] for view in needed)))
    token_index, targets = at.token_index[at.unique_index], at.targets[at.unique_index]
    logp_N = target_logprobs(forward.model, forward.hidden[token_index], targets)[at.inverse_index]
    by_sequence = iter(logp_N.split(at.counts))
    return {view: tuple(islice(by_sequence, len(forward.spans[view]))) for view in needed}


def _sequence_loss(
    term: SequenceTerm, views: Views, logprobs: Mapping[View, tuple[Tensor, ...]], reference: Reference
) -> Tensor:
    """Loss of each item [B]."""
    logps_B = [torch.stack([logp_N.sum() for logp_N in logprobs[view]]) for view in term.views]
    if term.reference:
        assert reference.sequence_logprobs is not None, "the objective needs log-probs of the reference model"
        logps_B += [_tensor_like(logps_B[0], reference.sequence_logprobs(views[view])) for view in term.views]
    if term.lengths:
        logps_B += [_tensor_like(logps_B[0], [item.answer_length for item in views[view]]) for view in term.views]
    return term.loss(*logps_B)


def _distribution_loss(term: DistributionTerm, forward: _ForwardPass, views: Views, reference: Reference) -> Tensor:
    """Summed loss of each sequence [B]."""
    at = forward.batch.target_positions(term.positions, forward.spans[term.view], own=term.own)
    # what a position of one sequence repeats may be another token than the same position of another sequence
    unique, inverse = (at.unique_index, at.inverse_index) if term.repeated is None else (slice(None), slice(None))
    inputs = [forward.hidden[at.token_index[unique]]]
    if term.reference:
        assert reference.distribution is not None, "the objective needs distributions of the reference model"
        inputs.append(reference.distribution.hidden_states(views[term.view], term.positions)[unique])
    if term.repeated is not None:
        inputs.append(_repeated_ids(views[term.repeated], at)[unique])
    elif term.targets:
        inputs.append(at.targets[unique])
    loss_N = apply_head(forward.model, _loss_of(term, reference), *inputs)[inverse]
    if term.skip:
        counted_N = torch.cat([torch.arange(count) >= term.skip for count in at.counts])
        loss_N = torch.where(copy_to_device(counted_N, loss_N.device), loss_N, 0)
    return _sum_by_sequence(loss_N, at)


def _repeated_ids(sequences: Sequence[TokenizedSequence], at: TargetPositions) -> Tensor:
    """Ids of the answers without their end, each repeated to the number of positions of its sequence [N]."""
    ids: list[int] = []
    for sequence, count in zip(sequences, at.counts, strict=True):
        answer = sequence.answer[:-1] or sequence.answer
        ids += islice(cycle(answer), count)
    return copy_to_device(torch.tensor(ids), at.targets.device)


def _state_loss(
    term: StateTerm, forward: _ForwardPass, sequences: Sequence[TokenizedSequence], reference: Reference
) -> Tensor:
    """Summed loss of each sequence [B]."""
    at = forward.batch.target_positions(term.reads.positions, forward.spans[term.view], own=True)
    states = [forward.hidden[at.token_index]]
    if term.reference:
        assert reference.distribution is not None, "the objective needs hidden states of the reference model"
        states.append(reference.distribution.hidden_states(sequences, term.reads))
    return _sum_by_sequence(
        term.loss(*(each.to(torch.promote_types(each.dtype, torch.float32)) for each in states)), at
    )


def _sum_by_sequence(loss_N: Tensor, at: TargetPositions) -> Tensor:
    """The sum over the positions of each sequence [B]."""
    return loss_N.new_zeros(len(at.counts)).index_add(0, at.sequence_index, loss_N)


def _loss_of(term: DistributionTerm, reference: Reference) -> Callable[..., Tensor]:
    """The term's loss [N] as a function of logits [N, V], hidden states of the reference [N, H], and token ids [N]."""

    def loss(logits_NV: Tensor, *more: Tensor) -> Tensor:
        inputs = [logits_NV, *more]
        if term.reference:
            assert reference.distribution is not None
            inputs[1] = reference.distribution.logits(more[0])
        return term.loss(*inputs)

    return loss


def _reads_layer(term: Term, layer: int) -> bool:
    return isinstance(term, StateTerm) and term.reads.layer == layer


def _reads_rows(term: Term) -> bool:
    return isinstance(term, DistributionTerm) and term.row_length is not None


def _row_loss(
    term: DistributionTerm, model: Any, sequences: Sequence[TokenizedSequence], reference: Reference
) -> Tensor:
    """Loss of each sequence [B], summed over the positions of its padded row."""
    positions = term.row_positions
    states = [padded_hidden_states(model, sequences)]
    if term.reference:
        assert reference.distribution is not None, "the objective needs distributions of the reference model"
        states.append(
            reference.distribution.hidden_states(sequences, "row").view(len(sequences), -1, states[0].shape[-1])
        )
    hidden = [states_BLH[:, :positions].flatten(0, 1) for states_BLH in states]
    loss_N = apply_head(model, _loss_of(term, reference), *hidden)
    return loss_N.view(len(sequences), positions).sum(1)


def _tensor_like(other: Tensor, values: Sequence[float]) -> Tensor:
    """Numbers as a tensor with the dtype and device of another tensor."""
    return copy_to_device(torch.tensor(values, dtype=other.dtype), other.device)
