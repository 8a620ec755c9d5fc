"""`train.sam`: the gradient of the forget loss from the weights nearby at which that loss is highest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from efface.objectives.terms import Objective
from efface.train.distribution.parallel import ParallelModel
from efface.train.step import Losses

_LEAST_NORM = 1e-12
"""A gradient of 0 moves nothing."""


def passes(objective: Objective, rho: float | None) -> tuple[Objective, ...]:
    """The objectives whose gradients a step computes one after another: both sides for SAM, else the whole.

    Args:
        objective: The method.
        rho: How far SAM moves the weights, as a 2-norm; None without SAM.

    Returns:
        One objective; for SAM two, the forget loss alone and the retain loss alone.
    """
    return (objective,) if rho is None else (replace(objective, retain=()), replace(objective, forget=()))


def sam_losses(
    compute: Callable[[Objective], Losses], objective: Objective, model: ParallelModel, *, rho: float | None
) -> Losses:
    """Sharpness-aware unlearning: the gradient of the forget loss at w + rho g / ||g||. arXiv:2502.05374.

    g is the gradient of the forget loss at the weights w, over all trained weights. The gradient of the retain loss is
    that at w.

    Args:
        compute: Computes the losses of an objective and adds its gradient to that of the weights, averaged over the
            processes.
        objective: The method.
        model: In training, without a gradient; each process has it whole. Its gradient is that of the step afterwards.
        rho: How far the weights are moved, as a 2-norm; None for the plain gradient.

    Returns:
        The losses at w.
    """
    if rho is None:
        return compute(objective)
    forget, retain = passes(objective, rho)
    losses = compute(forget)
    trained = [each for each in model.model.parameters() if each.grad is not None]
    with _moved(trained, rho / model.grad_norm().clamp(min=_LEAST_NORM)):
        compute(forget)
    return Losses(losses.forget, compute(retain).retain) if objective.retain else losses


@contextmanager
def _moved(parameters: Sequence[nn.Parameter], scale: Tensor) -> Iterator[None]:
    """Inside, the weights are moved by `scale` times their gradient, which they then no longer have."""
    before = [each.detach().clone() for each in parameters]
    try:
        with torch.no_grad():
            for parameter in parameters:
                assert parameter.grad is not None
                parameter.add_(parameter.grad * scale)
                parameter.grad = None
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, before, strict=True):
                parameter.copy_(value)
