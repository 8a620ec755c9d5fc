"""Two results of the same run -> to how many digits each number agrees. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from efface.errors import EffaceError
from efface.files.safe_read import parse_json, read_lines
from efface.frozen import FrozenModel

_NOT_COMPARED = frozenset({"seconds"})
"""Wall-clock time."""

Value = float | str | bool | None


class NumberDifference(FrozenModel):
    """A number, or another value, that differs."""

    name: str
    """Where it is, such as `results.after.forget.rouge`."""
    recorded: Value
    """None where it is missing, too."""
    repeated: Value
    digits: int
    """The number of significant digits that agree; 0 where it is no number."""


class Agreement(FrozenModel):
    """How two sets of values agree."""

    compared: int
    """Number of values."""
    different: tuple[NumberDifference, ...]
    """The worst first."""


def compare(recorded: Mapping[str, Value], repeated: Mapping[str, Value]) -> Agreement:
    """Compare values by their names.

    Args:
        recorded: Name -> value, of the run.
        repeated: The same of its repetition.
    """
    names = list(dict.fromkeys([*recorded, *repeated]))
    found = []
    for name in names:
        one, other = recorded.get(name), repeated.get(name)
        if name not in recorded or name not in repeated or not _is_equal(one, other):
            found.append(NumberDifference(name=name, recorded=one, repeated=other, digits=common_digits(one, other)))
    return Agreement(compared=len(names), different=tuple(sorted(found, key=lambda each: each.digits)))


def common_digits(one: Value, other: Value) -> int:
    """The number of significant digits to which two different numbers agree.

    Args:
        one: A number; for anything else, and for numbers that are not finite, it is 0.
        other: Another one.

    Returns:
        The digits of |a - b| / max(|a|, |b|) before the first that is not 0: 3 for 0.1234 and 0.1235.
    """
    if not (_is_finite(one) and _is_finite(other)) or one == other:
        return 0
    difference = abs(float(one or 0) - float(other or 0)) / max(abs(float(one or 0)), abs(float(other or 0)))
    return max(0, math.floor(-math.log10(difference)))


def leaves(value: Any, name: str) -> Iterator[tuple[str, Value]]:
    """The values in nested JSON, with dotted names; without times.

    Args:
        value: Parsed JSON, or what is written as JSON: a tuple is a list.
        name: Its name.
    """
    if isinstance(value, dict):
        for key, each in value.items():
            if key not in _NOT_COMPARED:
                yield from leaves(each, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from leaves(each, f"{name}.{index}")
    else:
        yield name, value


def read_steps(path: Path) -> dict[str, Value]:
    """The losses of every step in metrics.jsonl, by dotted names; empty if there is no such file.

    Args:
        path: The file.

    Raises:
        EffaceError: A line is no JSON.
    """
    if not path.is_file():
        return {}
    found: dict[str, Value] = {}
    for number, line in enumerate(read_lines(path), 1):
        try:
            found.update(leaves(parse_json(line), f"metrics.{number}"))
        except ValueError as error:
            raise EffaceError(f"{path}, line {number} is damaged; remove it to repeat the run") from error
    return found


def _is_equal(one: Value, other: Value) -> bool:
    return one == other or (_is_nan(one) and _is_nan(other))


def _is_nan(value: Value) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _is_finite(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
