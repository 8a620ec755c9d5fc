"""Losses and gradients of one optimizer step, in one or more micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from efface import distributed
from efface.errors import EffaceError
from efface.objectives.compute import term_values
from efface.objectives.terms import Objective, Reference
from efface.packing.forward import unwrap_peft
from efface.packing.support import packed_or_padded, packing_unsupported_reason
from efface.train.batches.micro_batches import MicroBatch, TrainingExample, micro_batches_of_rank
from efface.train.distribution.parallel import ParallelModel


@dataclass(frozen=True)
class Losses:
    """Unweighted losses of one optimizer batch, as scalar tensors."""

    forget: Tensor
    retain: Tensor


def batch_losses(
    model: Any,
    objective: Objective,
    examples: Sequence[TrainingExample],
    reference: Reference,
    *,
    max_tokens_per_forward: int | None = None,
    average_over: int | None = None,
    backward: Callable[[Tensor], None] | None = None,
    parallel_model: ParallelModel | None = None,
) -> Losses:
    """Losses of all `examples` as one optimizer batch.

    Averages run over the whole batch, or over each `average_over` examples, so the sum over micro-batches does not
    depend on how the batch is cut.

    Args:
        model: A causal language model of transformers or PEFT.
        objective: The losses and their coefficients.
        examples: The whole batch; of several processes, each computes its share.
        reference: What the objective compares with.
        max_tokens_per_forward: Most tokens of one micro-batch; None for no limit.
        average_over: How many consecutive examples are averaged before the averages are; None for the whole batch.
        backward: Called with each micro-batch's share of the weighted loss.
        parallel_model: `model` distributed over several processes.

    Returns:
        The losses of the whole batch, in every process; with `backward` they are detached, without they carry the
        gradient.

    Raises:
        EffaceError: The model has gradient checkpointing on, and there is no `backward`.
    """
    _check_gradient_checkpointing(model, backward)
    parallel = parallel_model or ParallelModel(model)
    rank, world_size = distributed.rank(), distributed.world_size()
    batches = micro_batches_of_rank(
        objective,
        examples,
        max_tokens_per_forward,
        average_over=average_over,
        rank=rank,
        world_size=world_size,
        shared=packing_unsupported_reason(model) is None,
    )
    totals: list[Tensor | None] = [None, None]
    with packed_or_padded(model):
        for number, batch in enumerate(batches, 1):
            with parallel.gradient_sync(enabled=number == len(batches)):
                sides = parallel.forward(partial(_forget_and_retain, objective, batch, reference))
                if backward is not None:
                    coefficients = (objective.forget_coeff, objective.retain_coeff)
                    weighted = [c * side for c, side in zip(coefficients, sides, strict=True) if side is not None]
                    # gradients are averaged over processes, but the shares of the loss must be summed
                    backward(torch.stack(weighted).sum() * world_size)
                    sides = [None if side is None else side.detach() for side in sides]
            totals = [_sum([value for value in pair if value is not None]) for pair in zip(totals, sides, strict=True)]
    zero = torch.zeros((), device=parallel.device)
    forget, retain = (zero if total is None else total for total in totals)
    forget, retain = distributed.all_reduce_sum(torch.stack([forget, retain]))
    return Losses(forget, retain)


def _forget_and_retain(
    objective: Objective, batch: MicroBatch, reference: Reference, model: Any
) -> list[Tensor | None]:
    """The micro-batch's share of the forget and of the retain loss; None for a side without terms."""
    views = {view: [example[view] for example in batch.examples] for view in objective.views}
    values = term_values(model, objective.terms, views, batch.divisors, reference)
    forget_terms = len(objective.forget)
    return [_sum(values[:forget_terms]), _sum(values[forget_terms:])]


def _check_gradient_checkpointing(model: Any, backward: Callable[[Tensor], None] | None) -> None:
    inner = unwrap_peft(model)
    if backward is not None or not inner.training or not torch.is_grad_enabled():
        return
    if any(getattr(module, "gradient_checkpointing", False) for module in inner.modules()):
        raise EffaceError(
            "gradient checkpointing would recompute the forward pass after packing has ended; call "
            "model.gradient_checkpointing_disable() first, or train with efface, whose backward pass runs inside"
        )


def _sum(values: Sequence[Tensor]) -> Tensor | None:
    return torch.stack(list(values)).sum() if values else None
