"""What `train.watch` added to metrics.jsonl: log-probabilities and AP's weight, epoch by epoch. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from efface.report.page.loss_curve import read_lines


@dataclass(frozen=True)
class WatchedEpoch:
    """The model before training or at the end of an epoch; None where there is nothing to measure."""

    label: str
    """Such as `epoch 2`; epoch 0 is before training."""
    step: int
    """Optimizer steps so far; in a queue, those of earlier requests count."""
    forget_answer: float | None
    forget_refusal: float | None
    retain_answer: float | None
    retain_refusal: float | None
    ap_weight: float | None


SERIES = ("forget_answer", "forget_refusal", "retain_answer", "retain_refusal", "ap_weight")
"""Fields of `WatchedEpoch` that are drawn: mean log-probabilities of a token, and a weight in [0, 1]."""


def read_watched(file: Path, *, earlier_steps: int = 0, prefix: str = "") -> list[WatchedEpoch]:
    """Read what was watched.

    Args:
        file: A run's metrics.jsonl; need not exist.
        earlier_steps: Optimizer steps of earlier requests of a queue.
        prefix: Start of each label, such as `request 2, `.

    Returns:
        One for each epoch so far, in order; none without `train.watch`.

    Raises:
        EffaceError: A line is damaged.
    """
    epochs = []
    for line in read_lines(file):
        if "epoch" in line.values:
            values = {name: line.finite(name) for name in SERIES}
            epochs.append(
                WatchedEpoch(f"{prefix}epoch {line.count('epoch')}", line.count("step") + earlier_steps, **values)
            )
    return epochs
