"""`train.retain_bound`: the coefficient of the retain loss follows how far the loss is above its bound."""

from __future__ import annotations

from dataclasses import replace

from efface.objectives.terms import Objective
from efface.train.config import TrainConfig


def dual_step(coeff: float, retain_loss: float, *, bound: float, rate: float) -> float:
    """The dual update of primal-dual unlearning, arXiv:2506.05314: lambda <- max(0, lambda + rate (retain - bound)).

    Args:
        coeff: lambda, the coefficient of the retain loss in the step that was made.
        retain_loss: The unweighted retain loss of that step.
        bound: The most that it should be.
        rate: The step size of the update.

    Returns:
        The coefficient of the next step.
    """
    return max(0.0, coeff + rate * (retain_loss - bound))


def with_next_coeff(objective: Objective, retain_loss: float, config: TrainConfig) -> Objective:
    """The objective of the next step; the same one without a bound.

    Args:
        objective: That of the step that was made.
        retain_loss: The unweighted retain loss of that step.
        config: Has the bound.
    """
    if config.retain_bound is None:
        return objective
    coeff = dual_step(objective.retain_coeff, retain_loss, bound=config.retain_bound, rate=config.retain_bound_rate)
    return replace(objective, retain_coeff=coeff)
