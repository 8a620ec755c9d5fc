"""The losses of a run, step by step, as metrics.jsonl has them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from efface.errors import EffaceError

_MOST_POINTS = 400
"""Of one curve: more cannot be told apart on a screen."""


@dataclass(frozen=True)
class Step:
    """Losses of one optimizer step; `loss` is weighted, the terms are not. None where it is not finite."""

    step: int
    steps: int
    loss: float | None
    forget: float | None
    retain: float | None


def read_steps(file: Path) -> list[Step]:
    """The steps so far; a last line that is cut short, as by a kill, is left out. Raises `EffaceError` for damage."""
    if not file.is_file():
        return []
    lines = file.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    return [_step(file, number, line) for number, line in enumerate(lines, 1)]


def thinned(steps: Sequence[Step], most: int = _MOST_POINTS) -> list[tuple[int, Step]]:
    """At most `most` of the steps at even distances, first and last among them, each with its place from 1."""
    if len(steps) <= most:
        return list(enumerate(steps, 1))
    places = sorted({round(part * (len(steps) - 1) / (most - 1)) for part in range(most)})
    return [(place + 1, steps[place]) for place in places]


def _step(file: Path, number: int, line: bytes) -> Step:
    try:
        values = json.loads(line)
        found = {each.name: float(values[each.name]) for each in fields(Step)}
        losses = {name: value if math.isfinite(value) else None for name, value in found.items()}
        return Step(**{**losses, "step": int(found["step"]), "steps": int(found["steps"])})  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise EffaceError(f"{file}, line {number} is damaged; copy the run again, or repeat it") from error
