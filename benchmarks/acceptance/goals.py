"""The goals on one H100 with 80 GB, and the table of what was reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from acceptance.evaluation import QUESTIONS
from acceptance.stages import Row

Status = Literal["reached", "not reached", "not run", "rehearsed"]
_REASONS = ("failed", "skipped", "cut off")


@dataclass(frozen=True)
class Goal:
    """A limit for one number of one measurement."""

    part: int
    measurement: str
    key: str
    limit: float
    unit: str = ""
    at_least: bool = True
    """Otherwise at most."""

    def reached(self, value: float) -> bool:
        """Whether a value is within the limit."""
        return value >= self.limit if self.at_least else value <= self.limit


_SPEEDUPS = {"idk+ap": 40, "dpo+kl": 40, "npo+gd": 40, "me+gd": 20, "ga+kl": 20}
GOALS: tuple[Goal, ...] = (
    Goal(1, "tests that need a GPU", "failed_tests", 0, at_least=False),
    Goal(1, "tests that need a GPU", "skipped_tests", 0, at_least=False),
    Goal(1, "run of ME+GD", "finite", 1),
    Goal(1, "run of DPO+KL with LoRA", "finite", 1),
    *(
        Goal(2, f"step of 1B, {method.upper()}", key, factor, "x")
        for method, factor in _SPEEDUPS.items()
        for key in ("speedup_over_published", "speedup")
    ),
    *(Goal(2, f"loss in float32, {method.upper()}", "loss_difference", 1e-5, at_least=False) for method in _SPEEDUPS),
    Goal(3, "full training of 7B, IDK+AP", "tokens_per_second", 8500, "tokens/s"),
    Goal(3, "full training of 7B, IDK+AP", "share_of_rate", 0.45),
    Goal(3, "full training of 7B, IDK+AP", "training_seconds", 35, "s", at_least=False),
    Goal(3, "LoRA of 7B, IDK+AP", "tokens_per_second", 12800, "tokens/s"),
    Goal(3, "LoRA of 7B, IDK+AP", "peak_reserved_gib", 24, "GiB", at_least=False),
    Goal(4, QUESTIONS, "first_seconds", 6, "s", at_least=False),
    Goal(4, QUESTIONS, "again_seconds", 6, "s", at_least=False),
)


def value_of(goal: Goal, parts: Mapping[str, Any]) -> tuple[float | None, str]:
    """The number that a goal is about, or the reason why there is none."""
    part = parts.get(str(goal.part))
    if part is None:
        return None, f"part {goal.part} has not run"
    row: Row = part["measurements"].get(goal.measurement, {})
    if (value := row.get(goal.key)) is not None:
        return float(value), ""
    reasons = [
        f"{name}: {row[name]}" if name != "cut off" else f"cut off: {row[name]}" for name in _REASONS if name in row
    ]
    return None, next(iter(reasons), f"{goal.measurement} has no {goal.key} on this device")


def status_of(goal: Goal, parts: Mapping[str, Any], *, tiny: bool) -> Status:
    """Whether a goal is reached; numbers of tiny sizes are only rehearsed."""
    value, _ = value_of(goal, parts)
    if value is None:
        return "not run"
    if tiny:
        return "rehearsed"
    return "reached" if goal.reached(value) else "not reached"


def table(report: Mapping[str, Any], goals: Sequence[Goal] = GOALS) -> str:
    """All goals with their numbers, and below them the measurements that were not made and why.

    Args:
        report: The content of the JSON file.
        goals: Those of the table.

    Returns:
        Two Markdown tables; the second only where something is missing.
    """
    parts = report["parts"]
    rows = []
    for goal in goals:
        value, reason = value_of(goal, parts)
        sign = ">=" if goal.at_least else "<="
        rows.append(
            (
                str(goal.part),
                f"{goal.measurement}: {goal.key}",
                f"{sign} {goal.limit:g} {goal.unit}".strip(),
                reason if value is None else f"{value:.4g}",
                status_of(goal, parts, tiny=report["tiny"]),
            )
        )
    text = markdown(("part", "what", "goal", "measured", "status"), rows)
    missing = [
        (number, name, f"{reason}: {row[reason]}")
        for number, part in sorted(parts.items())
        for name, row in part["measurements"].items()
        for reason in _REASONS
        if reason in row
    ]
    return text if not missing else f"{text}\n\n{markdown(('part', 'not measured', 'why'), missing)}"


def numbers(part: Mapping[str, Any]) -> str:
    """All numbers of a part, one line for each measurement."""
    return "\n".join(f"{name}: {_short(row)}" for name, row in part["measurements"].items())


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose columns are aligned in plain text, too."""
    lines = [tuple(head), *(tuple(each.replace("|", "/") for each in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def _short(value: Any) -> str:
    match value:
        case float():
            return f"{value:.4g}"
        case dict():
            return ", ".join(f"{key} {_short(each)}" for key, each in value.items())
        case list():
            return "[" + "; ".join(map(_short, value)) + "]"
    return str(value)
