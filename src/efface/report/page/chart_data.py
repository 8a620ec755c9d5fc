"""The numbers that the page's charts draw. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from efface.report.page.load_run import ReportRun
from efface.report.page.loss_curve import downsample
from efface.report.page.summary import aggregates_by_stage
from efface.report.page.watch_curve import SERIES

PointType = Literal["before", "epoch", "request", "after", "model"]
"""What a point is drawn as; `model` for an evaluation."""


@dataclass(frozen=True)
class Point:
    """A model in the chart of utility against efficacy."""

    type: PointType
    label: str
    utility: float
    efficacy: float


def scatter_points(run: ReportRun, *, partial: bool) -> list[Point]:
    """Collect the run's models for the chart of utility against efficacy.

    Args:
        run: The run.
        partial: Whether to use the partial aggregates.

    Returns:
        One point per stage that has both numbers, in order.
    """
    points = []
    for stage, each in aggregates_by_stage(run, partial=partial).items():
        label = "this model" if run.kind == "evaluation" else stage
        if each.model_utility is not None and each.forget_efficacy is not None:
            points.append(Point(_point_type(run, stage), label, each.model_utility, each.forget_efficacy))
    return points


def scatter_data(points: Sequence[tuple[str, Sequence[Point]]]) -> list[dict[str, object]]:
    """Make the chart's data for the script.

    Args:
        points: (name of a run, its points).

    Returns:
        Per run `name` and `points`; of each point `x` (utility), `y` (efficacy), `type` and `label`.
    """
    return [
        {
            "name": name,
            "points": [
                {"x": round(each.utility, 4), "y": round(each.efficacy, 4), "type": each.type, "label": each.label}
                for each in points_of_run
            ],
        }
        for name, points_of_run in points
    ]


def loss_curves(run: ReportRun) -> dict[str, list[float | None]] | None:
    """Make the training chart's data for the script.

    Args:
        run: The run.

    Returns:
        `step`, and of each step `forget`, `retain` and `loss`; None where there was no training.
    """
    steps = downsample(run.steps)
    if not steps:
        return None
    return {
        "step": [float(position) for position, _ in steps],
        **{name: [_round(getattr(each, name)) for _, each in steps] for name in ("forget", "retain", "loss")},
    }


def watch_curves(run: ReportRun) -> dict[str, list[float | None]] | None:
    """Make the data of the two charts of `train.watch` for the script.

    Args:
        run: The run.

    Returns:
        `step`, and at each of these steps the numbers of `watch_curve.SERIES`; None where nothing was watched.
    """
    if not run.watched:
        return None
    return {
        "step": [float(each.step) for each in run.watched],
        **{name: [_round(getattr(each, name)) for each in run.watched] for name in SERIES},
    }


def _point_type(run: ReportRun, stage: str) -> PointType:
    match stage.split():
        case _ if run.kind == "evaluation":
            return "model"
        case ["before"]:
            return "before"
        case ["after"]:
            return "after"
        case ["epoch", _]:
            return "epoch"
        case _:
            return "request"


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
