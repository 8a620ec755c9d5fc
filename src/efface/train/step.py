"""One optimizer step's losses and gradients, however the batch is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from efface.errors import EffaceError
from efface.objectives.compute import term_values
from efface.objectives.terms import Objective, Reference, View, divisors
from efface.text.forward import unwrapped
from efface.text.reading import reading
from efface.text.template import Encoded

Example = Mapping[View, Encoded]
"""What one forget item and its partners bring: one sequence for each view that the objective reads."""


@dataclass(frozen=True)
class Losses:
    """Unweighted losses of one optimizer batch: scalars, with gradient where they were asked for."""

    forget: Tensor
    retain: Tensor


def batch_losses(
    model: Any,
    objective: Objective,
    examples: Sequence[Example],
    reference: Reference,
    *,
    token_budget: int | None = None,
    backward: Callable[[Tensor], None] | None = None,
) -> Losses:
    """Losses of all `examples` as one optimizer batch, in forwards of at most `token_budget` tokens.

    With `backward`, it is called on each micro-batch's share of the weighted loss, and the losses returned are
    detached. Averages run over the whole batch, so the sum of the shares does not depend on the cut.
    """
    inner = unwrapped(model)
    recomputes = inner.training and any(getattr(module, "gradient_checkpointing", False) for module in inner.modules())
    if backward is None and recomputes and torch.is_grad_enabled():
        raise EffaceError(
            "gradient checkpointing recomputes the forward pass where packing is over; call "
            "model.gradient_checkpointing_disable() first, or train with efface, whose backward runs inside"
        )
    whole = {view: [example[view] for example in examples] for view in objective.views}
    by = [divisors(term, whole) for term in objective.terms]
    totals: list[Tensor | None] = [None, None]
    with reading(model):
        for part in micro_batches(examples, token_budget):
            views = {view: whole[view][part.start : part.stop] for view in objective.views}
            shares = [divisor[part.start : part.stop] for divisor in by]
            values = term_values(model, objective.terms, views, shares, reference)
            sides = [_total(values[: len(objective.forget)]), _total(values[len(objective.forget) :])]
            if backward is not None:
                coefficients = (objective.forget_coeff, objective.retain_coeff)
                weighted = [c * side for c, side in zip(coefficients, sides, strict=True) if side is not None]
                backward(torch.stack(weighted).sum())
                sides = [None if side is None else side.detach() for side in sides]
            totals = [_total([v for v in pair if v is not None]) for pair in zip(totals, sides, strict=True)]
    zero = torch.zeros(())
    return Losses(*(zero if total is None else total for total in totals))


def micro_batches(examples: Sequence[Example], token_budget: int | None) -> Iterator[range]:
    """Consecutive examples whose views hold at most `token_budget` tokens together; a larger one goes alone."""
    start, tokens = 0, 0
    for index, example in enumerate(examples):
        size = sum(len(sequence) for sequence in example.values())
        if token_budget is not None and index > start and tokens + size > token_budget:
            yield range(start, index)
            start, tokens = index, 0
        tokens += size
    if examples:
        yield range(start, len(examples))


def _total(values: Sequence[Tensor]) -> Tensor | None:
    return torch.stack(list(values)).sum() if values else None
