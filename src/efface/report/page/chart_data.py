"""The numbers that the page's charts draw. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from efface.report.page.load_run import ReportRun
from efface.report.page.loss_curve import thinned
from efface.report.page.summary import aggregates


@dataclass(frozen=True)
class Point:
    """A model in the plane of utility and efficacy."""

    kind: str
    """`before`, `epoch`, `request`, `after` or, of a single model, `model`."""
    label: str
    utility: float
    efficacy: float


def points(run: ReportRun, *, partial: bool) -> list[Point]:
    """The run's models in order, as far as both numbers are there."""
    found = []
    for stage, each in aggregates(run, partial=partial).items():
        kind = "model" if run.kind == "evaluation" else stage.split()[0] if " request " not in stage else "request"
        label = "this model" if run.kind == "evaluation" else stage
        if each.model_utility is not None and each.forget_efficacy is not None:
            found.append(Point(kind, label, each.model_utility, each.forget_efficacy))
    return found


def plane(named: Sequence[tuple[str, Sequence[Point]]]) -> list[dict[str, object]]:
    """Of each run its name and points, for the script."""
    return [
        {
            "name": name,
            "points": [
                {"x": round(each.utility, 4), "y": round(each.efficacy, 4), "kind": each.kind, "label": each.label}
                for each in found
            ],
        }
        for name, found in named
    ]


def curves(run: ReportRun) -> dict[str, list[float | None]] | None:
    """The loss terms over the steps, for the script; None where nothing was trained."""
    steps = thinned(run.steps)
    if not steps:
        return None
    return {
        "step": [float(place) for place, _ in steps],
        **{name: [_short(getattr(each, name)) for _, each in steps] for name in ("forget", "retain", "loss")},
    }


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
