"""The losses of a run, step by step, from metrics.jsonl. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efface.errors import EffaceError
from efface.files import safe_read
from efface.files.safe_read import parse_json

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
    return [_step(line) for line in read_lines(file) if "loss" in line.values or not {"epoch", "kept"} & {*line.values}]


@dataclass(frozen=True)
class MetricsLine:
    """A line of metrics.jsonl: of an optimizer step or, with `epoch`, on what was watched at the end of one."""

    values: dict[str, Any]
    where: str
    """The file and the number of the line, for messages."""

    def number(self, name: str) -> float:
        """A number of the line.

        Raises:
            EffaceError: There is none of this name.
        """
        try:
            return float(self.values[name])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise self.damaged() from error

    def count(self, name: str) -> int:
        """A whole number of the line.

        Raises:
            EffaceError: There is none of this name.
        """
        try:
            return int(self.number(name))
        except (ValueError, OverflowError) as error:
            raise self.damaged() from error

    def finite(self, name: str) -> float | None:
        """A number of the line; None where it is not finite or null."""
        value = math.nan if self.values.get(name, "") is None else self.number(name)
        return value if math.isfinite(value) else None

    def damaged(self) -> EffaceError:
        """What to raise where the line cannot be read."""
        return EffaceError(f"{self.where} is damaged; copy the run again, or repeat it")


def read_lines(file: Path) -> list[MetricsLine]:
    """Read a run's metrics.jsonl.

    Args:
        file: The file; need not exist.

    Returns:
        Its lines; an incomplete last one, as after a kill, is left out.

    Raises:
        EffaceError: A line is damaged.
    """
    if not file.is_file():
        return []
    lines = [*safe_read.read_lines(file)]
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    return [_parse(f"{file}, line {number}", line) for number, line in enumerate(lines, 1)]


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


def _parse(where: str, text: bytes) -> MetricsLine:
    try:
        values = parse_json(text)
    except ValueError as error:
        raise MetricsLine({}, where).damaged() from error
    if not isinstance(values, dict):
        raise MetricsLine({}, where).damaged()
    return MetricsLine(values, where)


def _step(line: MetricsLine) -> Step:
    losses = {name: line.finite(name) for name in ("loss", "forget", "retain")}
    return Step(line.count("step"), line.count("steps"), **losses)
