"""What is logged of each optimizer step."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class StepLog:
    """One line of metrics.jsonl."""

    step: int
    """Counted from 1."""
    steps: int
    """Steps of the whole training."""
    loss: float
    """Forget and retain loss, weighted by their coefficients."""
    forget: float
    """Unweighted."""
    retain: float
    """Unweighted."""
    grad_norm: float
    """Before clipping."""
    lr: float
    tokens: int
    """Of all sequences that the step read."""
    seconds: float
    """Wall clock, with the writing of a checkpoint where one was due."""
    retain_coeff: float | None = None
    """Of this step, where `train.retain_bound` changes it."""

    def to_json(self) -> dict[str, float]:
        """The line; without `retain_coeff` where that does not change."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class KeepLog:
    """A line of metrics.jsonl with `keep`: the model after some step, compared with the model before unlearning."""

    step: int
    """Optimizer steps so far."""
    kept: float
    """Its utility on a few retain questions, over that of the model before unlearning."""
    kept_at_least: float
    """The lower bound of that share on other questions."""
    utility: float
    forget_efficacy: float
    gone: bool
    """Whether outputs for the forget set have no more in common with its answers than answers to other questions do."""
