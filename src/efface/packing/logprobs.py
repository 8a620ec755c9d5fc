"""Log-probabilities and other numbers of answers' tokens, many at once, for evaluation and the reference model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from efface import distributed
from efface.main_process import from_main_process
from efface.packing.forward import (
    cross_entropy_logprobs,
    device_of,
    evaluation_mode,
    hidden_states,
    score_targets,
)
from efface.packing.oom_retry import map_with_oom_backoff
from efface.packing.packed_batch import PackedBatch, TargetPositions, pack
from efface.packing.support import packed_or_padded, packing_unsupported_reason
from efface.packing.token_batches import token_batches
from efface.text.sequence import TokenizedSequence


def answer_logprobs(
    model: Any, sequences: Sequence[TokenizedSequence], *, max_tokens_per_forward: int
) -> list[list[float]]:
    """Compute the natural-log probability of each answer token, with dropout off.

    Args:
        model: as for `answer_numbers`.
        sequences: as for `answer_numbers`.
        max_tokens_per_forward: as for `answer_numbers`.

    Returns:
        For each of `sequences`, in their order, one number for each token of its answer; in every process.

    Raises:
        EffaceError: as `answer_numbers`.
    """
    logprobs = answer_numbers(model, sequences, cross_entropy_logprobs, max_tokens_per_forward=max_tokens_per_forward)
    return from_main_process(lambda: logprobs)


def logprobs_and_predicted(logits: Tensor, targets: Tensor) -> Tensor:
    """Log-probabilities of tokens, and whether each is the most likely one.

    Args:
        logits: [n, V].
        targets: token ids [n].

    Returns:
        [n, 2]: the natural-log probability, and 1 or 0.
    """
    predicted = logits.argmax(dim=-1) == targets
    return torch.stack([cross_entropy_logprobs(logits, targets), predicted.to(logits.dtype)], dim=-1)


@torch.no_grad()
def answer_numbers(
    model: Any,
    sequences: Sequence[TokenizedSequence],
    score: Callable[[Tensor, Tensor], Tensor],
    *,
    max_tokens_per_forward: int,
    known: Mapping[str, list[Any]] = MappingProxyType({}),
    on_batch: Callable[[dict[str, list[Any]]], None] | None = None,
) -> list[list[Any]]:
    """Compute numbers of each answer token from the logits that predict it, with dropout off.

    A prefix that several sequences of a forward pass share, such as the question of several answers, is computed
    once. Several processes compute a part each, and the main one returns everything.

    Args:
        model: a causal language model, possibly inside PEFT.
        sequences: prompts and answers as token ids.
        score: from logits [n, V] and token ids [n] to one or more numbers of each token, [n] or [n, C].
        max_tokens_per_forward: the most tokens of one forward pass; fewer if GPU memory runs out.
        known: results of an earlier call, by the key of the sequence. A batch is left out if all of it is known, so
            that the others stay as they were.
        on_batch: called with the results of each batch, by the key of the sequence.

    Returns:
        For each of `sequences`, in their order, a number for each token of its answer, or a list of C; none in a
        process that is not the main one.

    Raises:
        EffaceError: the memory of the GPU is too small for a single sequence.
    """
    by_index: dict[int, list[Any]] = {}
    packing = _PackingAhead(sequences, device_of(model))

    def process(batch: list[int]) -> list[list[Any]]:
        packed, at = packing.packed(batch)
        token_index, targets = at.token_index[at.unique_index], at.targets[at.unique_index]
        numbers = score_targets(model, hidden_states(model, packed)[token_index], targets, score)[at.inverse_index]
        packing.pack_after(batch)
        return [part.tolist() for part in numbers.cpu().split(at.counts)]

    def describe(index: int) -> str:
        return (
            f"the {len(sequences[index])} tokens of item {sequences[index].id!r} alone, whatever "
            "train.max_tokens_per_forward or evaluate.max_tokens_per_forward is; use a smaller model or device=cpu"
        )

    with evaluation_mode(model), packed_or_padded(model):
        batches = _batches_of_rank(model, sequences, max_tokens_per_forward)
        new = []
        for batch in batches:
            if all(sequences[index].key in known for index in batch):
                by_index.update({index: known[sequences[index].key] for index in batch})
            else:
                new.append(batch)
        packing.announce(new)
        for batch, numbers in map_with_oom_backoff(new, process, describe=describe):
            by_index.update(zip(batch, numbers, strict=True))
            if on_batch is not None:
                on_batch({sequences[index].key: values for index, values in zip(batch, numbers, strict=True)})
    for of_rank in distributed.gather(by_index):
        by_index.update(of_rank)
    return [by_index[index] for index in range(len(sequences))] if distributed.is_main_process() else []


class _PackingAhead:
    """Packs each batch while a GPU still computes the one before, whose kernels are queued by then."""

    def __init__(self, sequences: Sequence[TokenizedSequence], device: torch.device) -> None:
        self._sequences, self._device = sequences, device
        self._following: dict[tuple[int, ...], list[int]] = {}
        self._ready: dict[tuple[int, ...], tuple[PackedBatch, TargetPositions]] = {}

    def announce(self, batches: Sequence[list[int]]) -> None:
        """Say which batches will be packed, in order."""
        self._following = {tuple(batch): after for batch, after in pairwise(batches)}

    def packed(self, batch: list[int]) -> tuple[PackedBatch, TargetPositions]:
        """A batch, or a part of one where memory is short, and the positions of its answers."""
        if (ready := self._ready.pop(tuple(batch), None)) is not None:
            return ready
        packed = pack([self._sequences[index] for index in batch], self._device)
        return packed, packed.target_positions("answer")

    def pack_after(self, batch: list[int]) -> None:
        """Pack the batch that follows this one."""
        if (after := self._following.get(tuple(batch))) is not None:
            self._ready[tuple(after)] = self.packed(after)


def _batches_of_rank(
    model: Any, sequences: Sequence[TokenizedSequence], max_tokens_per_forward: int
) -> list[list[int]]:
    """The batches of this process; every process has the same number: a sharded model needs all for each forward."""
    world_size = distributed.world_size()
    share = -(-sum(map(len, sequences)) // world_size)
    packable = packing_unsupported_reason(model) is None
    batches = list(token_batches(sequences, min(max_tokens_per_forward, max(share, 1)), shared=packable))
    rounds = -(-len(batches) // world_size)
    return [batches[min(number * world_size + distributed.rank(), len(batches) - 1)] for number in range(rounds)]
