"""One optimizer step as in published code, as the baseline; written from its description only.

Every row is right-padded to 500 positions (published code cuts longer ones; here all rows become as long as they).
Micro-batches of 4 rows are accumulated. Each view that a loss reads costs one sdpa forward with whole logits, of the
model and, for NPO, DPO and KL, of a reference model that stays in memory. Only the averages are ours, so that both
paths give the same loss: each term is divided by the count of the whole optimizer batch, pad tokens excluded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from efface.objectives.terms import View
from efface.text.sequence import TokenizedSequence
from efface.train.batches.micro_batches import TrainingExample
from efface.train.step import Losses

PADDED_LENGTH = 500
MICRO_BATCH = 4
BETA = 0.1
_IGNORED = -100


@dataclass(frozen=True)
class Rows:
    """The sequences of one view, right-padded; each tensor is [rows, length]."""

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    """The ids of answer tokens, `_IGNORED` elsewhere."""


@dataclass(frozen=True)
class Counts:
    """Counts of one view in the whole optimizer batch: the divisors of its losses."""

    sequences: int
    answer_tokens: int
    tokens: int
    """All tokens except the first of each sequence."""


@dataclass(frozen=True)
class MicroBatch:
    """A few rows of each view. Every call of `logits` is a forward pass."""

    model: Any
    reference: Any
    rows: Mapping[View, Rows]
    counts: Mapping[View, Counts]

    def logits(self, view: View) -> Tensor:
        """[rows, length - 1, V]: predictions at each position except the last."""
        return _logits(self.model, self.rows[view])

    @torch.no_grad()
    def reference_logits(self, view: View) -> Tensor:
        """The same of the reference."""
        return _logits(self.reference, self.rows[view])


def padded_losses(model: Any, reference: Any, method: str, examples: Sequence[TrainingExample]) -> Losses:
    """Losses of all `examples`, their gradients accumulated in `model`.

    `reference` may be None where the method needs none. Both losses are detached.
    """
    forget_loss, retain_loss = _losses_of(method)
    device = next(model.parameters()).device
    counts = {view: count([example[view] for example in examples]) for view in examples[0]}
    length = max(PADDED_LENGTH, *(len(item) for example in examples for item in example.values()))
    forget, retain = torch.zeros((), device=device), torch.zeros((), device=device)
    for start in range(0, len(examples), MICRO_BATCH):
        part = examples[start : start + MICRO_BATCH]
        rows = {view: pad([example[view] for example in part], length, device) for view in part[0]}
        batch = MicroBatch(model, reference, rows, counts)
        forget_share, retain_share = forget_loss(batch), retain_loss(batch)
        (forget_share + retain_share).backward()
        forget, retain = forget + forget_share.detach(), retain + retain_share.detach()
    return Losses(forget, retain)


def pad(sequences: Sequence[TokenizedSequence], length: int, device: torch.device) -> Rows:
    """Right-pad sequences to `length`."""
    shape = (len(sequences), length)
    input_ids, attention_mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, _IGNORED)
    for row, item in enumerate(sequences):
        input_ids[row, : len(item)] = torch.tensor([*item.prompt, *item.answer])
        attention_mask[row, : len(item)] = 1
        labels[row, len(item.prompt) : len(item)] = torch.tensor(item.answer)
    return Rows(input_ids.to(device), attention_mask.to(device), labels.to(device))


def count(sequences: Sequence[TokenizedSequence]) -> Counts:
    """Count the divisors of a view's losses."""
    return Counts(
        sequences=len(sequences),
        answer_tokens=sum(len(item.answer) for item in sequences),
        tokens=sum(len(item) - 1 for item in sequences),
    )


def _logits(model: Any, rows: Rows) -> Tensor:
    output = model(input_ids=rows.input_ids, attention_mask=rows.attention_mask, use_cache=False)
    logits: Tensor = output.logits[:, :-1]
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _answer_nll(logits: Tensor, rows: Rows) -> Tensor:
    """-log p of each answer token [rows, length - 1]; zero elsewhere."""
    labels = rows.labels[:, 1:]
    flat = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=_IGNORED, reduction="none")
    return flat.view_as(labels)


def _cross_entropy(batch: MicroBatch, view: View) -> Tensor:
    return _answer_nll(batch.logits(view), batch.rows[view]).sum() / batch.counts[view].answer_tokens


def _logp(batch: MicroBatch, view: View) -> Tensor:
    """log p(answer | question) [rows]."""
    return -_answer_nll(batch.logits(view), batch.rows[view]).sum(dim=1)


def _reference_logp(batch: MicroBatch, view: View) -> Tensor:
    return -_answer_nll(batch.reference_logits(view), batch.rows[view]).sum(dim=1)


def _ga(batch: MicroBatch) -> Tensor:
    return -_cross_entropy(batch, "forget")


def _npo(batch: MicroBatch) -> Tensor:
    ratio = _logp(batch, "forget") - _reference_logp(batch, "forget")
    return -2 / BETA * F.logsigmoid(-BETA * ratio).sum() / batch.counts["forget"].sequences


def _dpo(batch: MicroBatch) -> Tensor:
    chosen = _logp(batch, "forget_idk") - _reference_logp(batch, "forget_idk")
    rejected = _logp(batch, "forget") - _reference_logp(batch, "forget")
    return -2 / BETA * F.logsigmoid(BETA * (chosen - rejected)).sum() / batch.counts["forget"].sequences


def _me(batch: MicroBatch) -> Tensor:
    logp = F.log_softmax(batch.logits("forget"), dim=-1)
    uniform = torch.full_like(logp, 1 / logp.shape[-1])
    divergence = F.kl_div(logp, uniform, reduction="none").sum(dim=-1)
    real = batch.rows["forget"].attention_mask[:, 1:]
    return (divergence * real).sum() / batch.counts["forget"].tokens


def _idk(batch: MicroBatch) -> Tensor:
    return _cross_entropy(batch, "forget_idk")


def _gd(batch: MicroBatch) -> Tensor:
    return _cross_entropy(batch, "retain")


def _kl(batch: MicroBatch) -> Tensor:
    logp = F.log_softmax(batch.logits("retain"), dim=-1)
    reference_logp = F.log_softmax(batch.reference_logits("retain"), dim=-1)
    divergence = F.kl_div(logp, reference_logp, reduction="none", log_target=True).sum(dim=-1)
    answer = batch.rows["retain"].labels[:, 1:] != _IGNORED
    return (divergence * answer).sum() / batch.counts["retain"].answer_tokens


def _ap(batch: MicroBatch) -> Tensor:
    margin = _logp(batch, "retain_idk") - _logp(batch, "retain")
    return -1 / BETA * F.logsigmoid(-BETA * margin).sum() / batch.counts["retain"].sequences


def _mismatch_and_kl(batch: MicroBatch) -> Tensor:
    return _cross_entropy(batch, "forget_mismatch") + _kl(batch)


def _nothing(batch: MicroBatch) -> Tensor:
    return next(batch.model.parameters()).new_zeros(())


_Loss = Callable[[MicroBatch], Tensor]
_FORGET: dict[str, _Loss] = {"ga": _ga, "npo": _npo, "dpo": _dpo, "me": _me, "idk": _idk}
_RETAIN: dict[str, _Loss] = {"gd": _gd, "kl": _kl, "ap": _ap}


def _losses_of(method: str) -> tuple[_Loss, _Loss]:
    if method == "llmu":
        return _ga, _mismatch_and_kl
    forget, _, retain = method.partition("+")
    return _FORGET[forget], _RETAIN[retain] if retain else _nothing


def loss_of(method: str | None) -> Callable[[MicroBatch], Tensor]:
    """The sum of a method's two losses; of fine-tuning on the retain view without a method."""
    forget, retain = _losses_of(method) if method else (_nothing, _gd)
    return lambda batch: forget(batch) + retain(batch)
