"""Log-probabilities of answers, many at once: what evaluation records and references keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from efface import distributed
from efface.packing.forward import device_of, hidden_states, target_logprobs
from efface.packing.oom_retry import in_parts_that_fit
from efface.packing.packed_batch import pack, token_batches
from efface.packing.support import reading, why_in_rows
from efface.text.formatter import Encoded


@torch.no_grad()
def answer_logprobs(model: Any, sequences: Sequence[Encoded], *, token_budget: int) -> list[list[float]]:
    """Natural-log probability of each answer token, in the order of `sequences`.

    What several sequences begin with, as the answers to one question do, goes through the model once if they are read
    together. At most `token_budget` tokens go through it at once, and fewer where the GPU's memory does not hold them.
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
            f"the {len(sequences[index])} tokens of item {sequences[index].id!r} alone, whatever train.token_budget "
            "or evaluate.token_budget is; use a smaller model or device=cpu"
        )

    was_training = model.training
    model.eval()
    try:
        with reading(model):
            for group, logprobs in in_parts_that_fit(_mine(model, sequences, token_budget), read, named=named):
                found.update(zip(group, logprobs, strict=True))
    finally:
        model.train(was_training)
    for others in distributed.gather(found):
        found.update(others)
    return [found[index] for index in range(len(sequences))]


def _mine(model: Any, sequences: Sequence[Encoded], token_budget: int) -> list[list[int]]:
    """The batches of this process; all have as many: they make each forward together where the model is in shards."""
    count = distributed.count()
    even = -(-sum(map(len, sequences)) // count)
    groups = list(token_batches(sequences, min(token_budget, max(even, 1)), shared=why_in_rows(model) is None))
    turns = -(-len(groups) // count)
    return [groups[min(turn * count + distributed.rank(), len(groups) - 1)] for turn in range(turns)]
