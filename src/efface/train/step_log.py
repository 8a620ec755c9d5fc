"""What is logged of each optimizer step."""

from __future__ import annotations

from dataclasses import dataclass


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
