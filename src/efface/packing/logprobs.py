"""Log-probabilities of answers, many at once: what evaluation records and references keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from efface import distributed
from efface.packing.forward import device_of, hidden_states, target_logprobs
from efface.packing.oom_retry import map_with_oom_backoff
from efface.packing.packed_batch import pack, token_batches
from efface.packing.support import packed_or_padded, packing_unsupported_reason
from efface.text.formatter import TokenizedSequence


@torch.no_grad()
def answer_logprobs(
    model: Any, sequences: Sequence[TokenizedSequence], *, max_tokens_per_forward: int
) -> list[list[float]]:
    """Natural-log probability of each answer token, in the order of `sequences`.

    What several sequences begin with, as the answers to one question do, goes through the model once if they are read
    together. At most `max_tokens_per_forward` tokens go through it at once, and fewer where the GPU's memory does not hold them.
    Several processes read a part each, and get all.
    Dropout is off meanwhile. Raises `EffaceError` where memory does not hold one sequence.
    """
    found: dict[int, list[float]] = {}
    device = device_of(model)

    def read(group: list[int]) -> list[list[float]]:
        batch = pack([sequences[index] for index in group], device)
        reads = batch.reads("answer")
        rows, targets = reads.rows[reads.first], reads.targets[reads.first]
        logprobs = target_logprobs(model, hidden_states(model, batch)[rows], targets)[reads.of]
        return [part.tolist() for part in logprobs.cpu().split(reads.counts)]

    def named(index: int) -> str:
        return (
            f"the {len(sequences[index])} tokens of item {sequences[index].id!r} alone, whatever train.max_tokens_per_forward "
            "or evaluate.max_tokens_per_forward is; use a smaller model or device=cpu"
        )

    was_training = model.training
    model.eval()
    try:
        with packed_or_padded(model):
            for group, logprobs in map_with_oom_backoff(
                _batches_of_rank(model, sequences, max_tokens_per_forward), read, named=named
            ):
                found.update(zip(group, logprobs, strict=True))
    finally:
        model.train(was_training)
    for others in distributed.all_gather(found):
        found.update(others)
    return [found[index] for index in range(len(sequences))]


def _batches_of_rank(
    model: Any, sequences: Sequence[TokenizedSequence], max_tokens_per_forward: int
) -> list[list[int]]:
    """The batches of this process; all have as many: they make each forward together where the model is in shards."""
    count = distributed.world_size()
    even = -(-sum(map(len, sequences)) // count)
    groups = list(
        token_batches(
            sequences, min(max_tokens_per_forward, max(even, 1)), shared=packing_unsupported_reason(model) is None
        )
    )
    turns = -(-len(groups) // count)
    return [groups[min(turn * count + distributed.rank(), len(groups) - 1)] for turn in range(turns)]
