"""Log-probabilities of answers, many at once: what evaluation records and references keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from efface.text.forward import device_of, hidden_states, target_logprobs
from efface.text.packing import pack, token_batches
from efface.text.reading import reading
from efface.text.template import Encoded


@torch.no_grad()
def answer_logprobs(model: Any, sequences: Sequence[Encoded], *, token_budget: int) -> list[list[float]]:
    """Natural-log probability of each answer token, in the order of `sequences`.

    At most `token_budget` tokens go through the model at once. Dropout is off meanwhile.
    """
    result: list[list[float]] = [[] for _ in sequences]
    device = device_of(model)
    was_training = model.training
    model.eval()
    try:
        with reading(model):
            for group in token_batches(sequences, token_budget):
                batch = pack([sequences[index] for index in group], device)
                reads = batch.reads("answer")
                logprobs = target_logprobs(model, hidden_states(model, batch)[reads.rows], reads.targets)
                parts = logprobs.cpu().split(reads.counts)
                for index, part in zip(group, parts, strict=True):
                    result[index] = part.tolist()
    finally:
        model.train(was_training)
    return result
