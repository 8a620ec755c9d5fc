"""The losses of the published code of arXiv:2410.08109, written again from their formulas, without anything of efface.

Rows are padded to a fixed length with the end-of-sequence token, the padding goes through the model, and ME and KL sum
over it. Averages are those of one micro-batch, and a step averages over its micro-batches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Row = tuple[list[int], list[int], list[int]]
"""Inputs, targets (-100: none) and attention mask of one padded row."""


def padded_row(prompt: Sequence[int], text: Sequence[int], eos: int, length: int) -> Row:
    """A question and an answer, both without end-of-sequence token, cut or padded to `length`."""
    ids = [*prompt, *text][:length]
    padding = length - len(ids)
    targets = ids if padding == 0 else [*ids, eos] + [-100] * (padding - 1)
    targets = [-100 if position < len(prompt) else target for position, target in enumerate(targets)]
    return ids + [eos] * padding, targets, [1] * len(ids) + [0] * padding


def _logits(model: Any, rows: Sequence[Row]) -> Tensor:
    return model(input_ids=torch.tensor([r[0] for r in rows]), attention_mask=torch.tensor([r[2] for r in rows])).logits


def _answer_logprobs(model: Any, rows: Sequence[Row]) -> list[Tensor]:
    """Of each row, the log-probabilities of its targets."""
    logp = torch.log_softmax(_logits(model, rows), dim=-1)
    found = []
    for number, (_, targets, _) in enumerate(rows):
        at = [position for position, target in enumerate(targets) if target != -100]
        found.append(torch.stack([logp[number, position - 1, targets[position]] for position in at]))
    return found


def _mean_per_token(model: Any, rows: Sequence[Row]) -> Tensor:
    return -torch.cat(_answer_logprobs(model, rows)).mean()


def _sums(model: Any, rows: Sequence[Row]) -> Tensor:
    return torch.stack([each.sum() for each in _answer_logprobs(model, rows)])


def _me(model: Any, rows: Sequence[Row]) -> Tensor:
    """Mean over all L - 1 positions of all rows of sum_v u (log u - log(p_v + 1e-12)), with u = 1 / V."""
    p = torch.softmax(_logits(model, rows)[:, :-1], dim=-1)
    u = 1 / p.shape[-1]
    return (u * (math.log(u) - torch.log(p + 1e-12))).sum(-1).mean()


def _kl(model: Any, reference: Any, rows: Sequence[Row]) -> Tensor:
    """Mean over all L positions of all rows of KL(reference || model)."""
    logp = torch.log_softmax(_logits(model, rows), dim=-1)
    with torch.no_grad():
        ref_logp = torch.log_softmax(_logits(reference, rows), dim=-1)
    return (ref_logp.exp() * (ref_logp - logp)).sum(-1).mean()


def _log_sigmoid_mean(values: Tensor) -> Tensor:
    return torch.nn.functional.logsigmoid(values).mean()


def micro_batch_losses(
    method: str, model: Any, reference: Any, rows: Mapping[str, Sequence[Row]], beta: float = 0.1
) -> tuple[Tensor, Tensor]:
    """The forget and the retain loss of one micro-batch."""
    forget_name, _, retain_name = method.partition("+")
    zero = torch.zeros((), dtype=torch.float64)
    if method == "llmu":
        mismatch = _mean_per_token(model, rows["forget_mismatch"])
        return -_mean_per_token(model, rows["forget"]), mismatch + _kl(model, reference, rows["retain"])
    match forget_name:
        case "ga":
            forget = -_mean_per_token(model, rows["forget"])
        case "idk":
            forget = _mean_per_token(model, rows["forget_idk"])
        case "me":
            forget = _me(model, rows["forget"])
        case "npo":
            with torch.no_grad():
                before = _sums(reference, rows["forget"])
            forget = -2 / beta * _log_sigmoid_mean(beta * (before - _sums(model, rows["forget"])))
        case "dpo":
            with torch.no_grad():
                before = _sums(reference, rows["forget_idk"]) - _sums(reference, rows["forget"])
            now = _sums(model, rows["forget_idk"]) - _sums(model, rows["forget"])
            forget = -2 / beta * _log_sigmoid_mean(beta * (now - before))
    match retain_name:
        case "":
            retain = zero
        case "gd":
            retain = _mean_per_token(model, rows["retain"])
        case "kl":
            retain = _kl(model, reference, rows["retain"])
        case "ap":
            difference = _sums(model, rows["retain"]) - _sums(model, rows["retain_idk"])
            retain = -1 / beta * _log_sigmoid_mean(beta * difference)
    return forget, retain
