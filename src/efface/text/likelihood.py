"""Log-probabilities of answers, many at once: what evaluation records and references keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from efface.text.fitting import in_parts_that_fit
from efface.text.forward import device_of, hidden_states, target_logprobs
from efface.text.packing import pack, token_batches
from efface.text.reading import reading
from efface.text.template import Encoded


@torch.no_grad()
def answer_logprobs(model: Any, sequences: Sequence[Encoded], *, token_budget: int) -> list[list[float]]:
    """Natural-log probability of each answer token, in the order of `sequences`.

    At most `token_budget` tokens go through the model at once, and fewer where the GPU's memory does not hold them.
    Dropout is off meanwhile. Raises `EffaceError` where memory does not hold one sequence.
    """
    result: list[list[float]] = [[] for _ in sequences]
    device = device_of(model)

    def read(group: list[int]) -> list[list[float]]:
        batch = pack([sequences[index] for index in group], device)
        reads = batch.reads("answer")
        logprobs = target_logprobs(model, hidden_states(model, batch)[reads.rows], reads.targets)
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
            for group, logprobs in in_parts_that_fit(token_batches(sequences, token_budget), read, named=named):
                for index, values in zip(group, logprobs, strict=True):
                    result[index] = values
    finally:
        model.train(was_training)
    return result
