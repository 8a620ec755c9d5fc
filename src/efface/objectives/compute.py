"""From a model and the views of a micro-batch to the value of each term: one packed forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from efface.objectives.terms import DistributionTerm, Reference, SequenceTerm, Term, TokenTerm, View, Views
from efface.packing.forward import device_of, head, hidden_states, map_in_chunks, target_logprobs, vocabulary_size
from efface.packing.packed_batch import PackedBatch, pack, to_device


@dataclass(frozen=True)
class _Forward:
    """What one packed forward left behind."""

    model: Any
    batch: PackedBatch
    hidden: Tensor
    """[T, H], tokens that several sequences begin with once"""
    spans: Mapping[View, range]
    """Which sequences of the batch belong to each view."""


def term_values(
    model: Any,
    terms: Sequence[Term],
    views: Views,
    divisors: Sequence[Sequence[float]],
    reference: Reference,
) -> list[Tensor]:
    """Each term's share of its loss over the whole optimizer batch, as a scalar with gradient.

    `views` holds what the terms read, item by item in the same order; `divisors[t][i]` is what `terms.divisors`
    gave for term t and item i. `model` must be inside `efface.packing.support.packed_or_padded(model)`.
    """
    forward = _run(model, views, tuple(dict.fromkeys(view for term in terms for view in term.views)))
    logprobs = _answer_logprobs(forward, terms)
    values = []
    for term, by in zip(terms, divisors, strict=True):
        if isinstance(term, SequenceTerm):
            loss_B = _sequence_loss(term, views, logprobs, reference)
        elif isinstance(term, TokenTerm):
            loss_B = torch.stack([term.loss(part).sum() for part in logprobs[term.view]])
        else:
            loss_B = _distribution_loss(term, forward, views[term.view], reference)
        values.append((loss_B / _like(loss_B, by)).sum())
    return values


def _run(model: Any, views: Views, names: Sequence[View]) -> _Forward:
    spans: dict[View, range] = {}
    start = 0
    for name in names:
        spans[name] = range(start, start + len(views[name]))
        start += len(views[name])
    batch = pack(list(chain.from_iterable(views[name] for name in names)), device_of(model))
    return _Forward(model, batch, hidden_states(model, batch), spans)


def _answer_logprobs(forward: _Forward, terms: Sequence[Term]) -> dict[View, tuple[Tensor, ...]]:
    """For each view that a token or sequence term reads: the answer tokens' log-probs, one tensor a sequence."""
    wanted = dict.fromkeys(view for term in terms if not isinstance(term, DistributionTerm) for view in term.views)
    result: dict[View, tuple[Tensor, ...]] = {}
    for view in wanted:
        reads = forward.batch.reads("answer", forward.spans[view])
        rows, targets = reads.rows[reads.first], reads.targets[reads.first]
        logp_N = target_logprobs(forward.model, forward.hidden[rows], targets)[reads.of]
        result[view] = logp_N.split(reads.counts)
    return result


def _sequence_loss(
    term: SequenceTerm, views: Views, logprobs: Mapping[View, tuple[Tensor, ...]], reference: Reference
) -> Tensor:
    """Loss of each item [B] of a term over summed answer log-probabilities."""
    sums = [torch.stack([part.sum() for part in logprobs[view]]) for view in term.views]
    if term.reference:
        assert reference.sequences is not None, "the objective asks for the reference's sequence log-probs"
        sums += [_like(sums[0], reference.sequences(views[view])) for view in term.views]
    return term.loss(*sums)


def _distribution_loss(
    term: DistributionTerm, forward: _Forward, sequences: Sequence[Any], reference: Reference
) -> Tensor:
    """Summed loss of each sequence [B] of a term over whole next-token distributions."""
    reads = forward.batch.reads(term.positions, forward.spans[term.view])
    rows = [forward.hidden[reads.rows[reads.first]]]
    if term.reference:
        assert reference.distribution is not None, "the objective asks for the reference's distribution"
        rows.append(reference.distribution.rows(sequences, term.positions)[reads.first])

    def read(mine: Tensor, *theirs: Tensor) -> Tensor:
        logits = [head(forward.model, mine)]
        if reference.distribution is not None and theirs:
            logits.append(reference.distribution.head(theirs[0]))
        return term.loss(*logits)

    loss_N = map_in_chunks(read, vocabulary_size(forward.model), *rows)[reads.of]
    return loss_N.new_zeros(len(reads.counts)).index_add(0, reads.sequence, loss_N)


def _like(other: Tensor, values: Sequence[float]) -> Tensor:
    """Numbers in the dtype and on the device of another tensor."""
    return to_device(torch.tensor(values, dtype=other.dtype), other.device)
