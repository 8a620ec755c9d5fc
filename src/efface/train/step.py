"""One optimizer step's losses and gradients, however the batch is cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from efface import distributed
from efface.errors import EffaceError
from efface.objectives.compute import term_values
from efface.objectives.terms import Objective, Reference, View, divisors
from efface.packing.forward import unwrap_peft
from efface.packing.support import packed_or_padded
from efface.text.formatter import TokenizedSequence
from efface.train.parallel import ParallelModel

Example = Mapping[View, TokenizedSequence]
"""What one forget item and its partners bring: one sequence for each view that the objective reads."""


@dataclass(frozen=True)
class Losses:
    """Unweighted losses of one optimizer batch: scalars, with gradient where they were asked for."""

    forget: Tensor
    retain: Tensor


@dataclass(frozen=True)
class MicroBatch:
    """What goes through a model at once."""

    examples: Sequence[Example]
    divisors: Sequence[Sequence[float]]
    """For each term, by what the loss of each example is divided."""


def batch_losses(
    model: Any,
    objective: Objective,
    examples: Sequence[Example],
    reference: Reference,
    *,
    max_tokens_per_forward: int | None = None,
    backward: Callable[[Tensor], None] | None = None,
    placement: ParallelModel | None = None,
) -> Losses:
    """Losses of all `examples` as one optimizer batch, in forwards of at most `max_tokens_per_forward` tokens.

    With `backward`, it is called on each micro-batch's share of the weighted loss, and the losses returned are
    detached. Averages run over the whole batch, so the sum of the shares does not depend on the cut. `placement`: how
    `model` lies over several processes, each of which reads its part of `examples` and gets the losses of all of them.
    """
    _check_recomputing(model, backward)
    placed = placement or ParallelModel(model)
    cut = micro_batches_of_rank(
        objective, examples, max_tokens_per_forward, rank=distributed.rank(), count=distributed.world_size()
    )
    totals: list[Tensor | None] = [None, None]
    with packed_or_padded(model):
        for number, part in enumerate(cut, 1):
            with placed.accumulating(last=number == len(cut)):
                sides = placed.forward(partial(_sides, objective, part, reference))
                if backward is not None:
                    coefficients = (objective.forget_coeff, objective.retain_coeff)
                    weighted = [c * side for c, side in zip(coefficients, sides, strict=True) if side is not None]
                    # the processes' gradients are averaged, and the shares of the loss are to be added up
                    backward(torch.stack(weighted).sum() * distributed.world_size())
                    sides = [None if side is None else side.detach() for side in sides]
            totals = [_total([v for v in pair if v is not None]) for pair in zip(totals, sides, strict=True)]
    zero = torch.zeros((), device=placed.device)
    forget, retain = (zero if total is None else total for total in totals)
    if distributed.world_size() > 1:
        forget, retain = placed.total(torch.stack([forget, retain]))
    return Losses(forget, retain)


def micro_batches_of_rank(
    objective: Objective,
    examples: Sequence[Example],
    max_tokens_per_forward: int | None,
    *,
    rank: int = 0,
    count: int = 1,
) -> list[MicroBatch]:
    """What process `rank` of `count` reads of an optimizer batch, in forwards of at most `max_tokens_per_forward` tokens.

    Every example is read by one of them. All have the same number of parts, since they meet in each: one that has
    nothing left reads the shortest example with no weight.
    """
    views = {view: [example[view] for example in examples] for view in objective.views}
    by = [divisors(term, views) for term in objective.terms]
    shares = balance_by_tokens([tokens_of(example) for example in examples], count)
    cut = [list(split_by_tokens([examples[index] for index in share], max_tokens_per_forward)) for share in shares]
    mine = [shares[rank][part.start : part.stop] for part in cut[rank]]
    found = [MicroBatch([examples[i] for i in part], [[divisor[i] for i in part] for divisor in by]) for part in mine]
    shortest = min(examples, key=tokens_of)
    idle = MicroBatch([shortest], [[math.inf]] * len(by))
    return found + [idle] * (max(map(len, cut)) - len(found))


def balance_by_tokens(sizes: Sequence[int], count: int) -> list[list[int]]:
    """Which of the `sizes` each of `count` processes gets: rising indices, and about the same size for all."""
    shares: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        lightest = loads.index(min(loads))
        shares[lightest].append(index)
        loads[lightest] += sizes[index]
    return [sorted(share) for share in shares]


def tokens_of(example: Example) -> int:
    """Tokens of all its views."""
    return sum(len(sequence) for sequence in example.values())


def _sides(objective: Objective, part: MicroBatch, reference: Reference, model: Any) -> list[Tensor | None]:
    """The part's share of the forget and of the retain loss; None for a side without terms."""
    views = {view: [example[view] for example in part.examples] for view in objective.views}
    values = term_values(model, objective.terms, views, part.divisors, reference)
    forget = len(objective.forget)
    return [_total(values[:forget]), _total(values[forget:])]


def _check_recomputing(model: Any, backward: Callable[[Tensor], None] | None) -> None:
    inner = unwrap_peft(model)
    recomputes = inner.training and any(getattr(module, "gradient_checkpointing", False) for module in inner.modules())
    if backward is None and recomputes and torch.is_grad_enabled():
        raise EffaceError(
            "gradient checkpointing recomputes the forward pass where packing is over; call "
            "model.gradient_checkpointing_disable() first, or train with efface, whose backward runs inside"
        )


def split_by_tokens(examples: Sequence[Example], max_tokens_per_forward: int | None) -> Iterator[range]:
    """Consecutive examples whose views hold at most `max_tokens_per_forward` tokens together; a larger one goes alone."""
    start, tokens = 0, 0
    for index, example in enumerate(examples):
        size = tokens_of(example)
        if max_tokens_per_forward is not None and index > start and tokens + size > max_tokens_per_forward:
            yield range(start, index)
            start, tokens = index, 0
        tokens += size
    if examples:
        yield range(start, len(examples))


def _total(values: Sequence[Tensor]) -> Tensor | None:
    return torch.stack(list(values)).sum() if values else None
