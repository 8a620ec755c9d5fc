"""The losses of a run, step by step, from metrics.jsonl. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from efface.errors import EffaceError

_MAX_POINTS = 400
"""Of one curve: more cannot be distinguished on a screen."""


@dataclass(frozen=True)
class Step:
    """Losses of one optimizer step; None where a loss is not finite."""

    step: int
    """From 1."""
    steps: int
    """How many the training has."""
    loss: float | None
    """The weighted sum that was minimized."""
    forget: float | None
    """The forget term, unweighted."""
    retain: float | None
    """The retain term, unweighted."""


def read_steps(file: Path) -> list[Step]:
    """Read the optimizer steps so far.

    Args:
        file: A run's metrics.jsonl; need not exist.

    Returns:
        The steps in order. An incomplete last line, as after a kill, is left out.

    Raises:
        EffaceError: A line is damaged.
    """
    if not file.is_file():
        return []
    lines = file.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    return [_parse(file, number, line) for number, line in enumerate(lines, 1)]


def downsample(steps: Sequence[Step], count: int = _MAX_POINTS) -> list[tuple[int, Step]]:
    """Choose steps at even distances, the first and the last among them.

    Args:
        steps: All steps.
        count: How many at most.

    Returns:
        (position from 1, step) of each chosen step.
    """
    if len(steps) <= count:
        return list(enumerate(steps, 1))
    positions = sorted({round(part * (len(steps) - 1) / (count - 1)) for part in range(count)})
    return [(position + 1, steps[position]) for position in positions]


def _parse(file: Path, number: int, line: bytes) -> Step:
    try:
        values = json.loads(line)
        numbers = {each.name: float(values[each.name]) for each in fields(Step)}
        losses = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
        return Step(**{**losses, "step": int(numbers["step"]), "steps": int(numbers["steps"])})  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise EffaceError(f"{file}, line {number} is damaged; copy the run again, or repeat it") from error
