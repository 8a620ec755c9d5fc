"""The page: one HTML file that asks nobody for anything. No torch."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from efface.artifacts import METRICS
from efface.folders import RunPaths
from efface.report.page import chart_data, tables
from efface.report.page.load_run import ReportRun
from efface.report.page.loss_curve import thinned
from efface.report.page.question_data import as_data, longest
from efface.report.page.question_rows import RIGHT_ROUGE, QuestionRow, question_rows
from efface.report.page.sanitize import clean, in_script
from efface.report.page.summary import (
    AGGREGATE_NAMES,
    METRIC_NAMES,
    Summary,
    aggregates,
    partial_metrics,
    scores_of,
    summarize,
)
from efface.report.rich_tables import shown_number
from efface.scores.continual import utility

_ASSETS = files("efface.report.page") / "assets"
_STEPS_SHOWN = 12
"""Of a training curve, as a table."""


@dataclass(frozen=True)
class _View:
    """What the template shows of one run."""

    name: str
    run: ReportRun
    summary: Summary
    rows: Sequence[QuestionRow]
    points: Sequence[chart_data.Point]


def page(runs: Sequence[ReportRun], *, version: str) -> str:
    """One whole HTML document about the runs, most important things first; `version` is that of efface."""
    from jinja2 import Environment, StrictUndefined

    names = [clean(name) for name in tables.names_of(runs)]
    models = [scores for run in runs for _, scores in scores_of(run)]
    partial = partial_metrics(models)
    views = [_view(name, run, partial=partial is not None) for name, run in zip(names, runs, strict=True)]
    limit = longest([view.rows for view in views])
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": shown_number, "clean": clean}
    style, scripts = _asset("page.css"), (_asset("chart.umd.min.js"), _asset("page.js"))
    return environment.from_string(_asset("page.html.j2")).render(
        version=version,
        policy=_policy(style, scripts),
        style=environment.filters["safe"](style),
        scripts=[environment.filters["safe"](script) for script in scripts],
        data=in_script(_data(views, limit)),
        limit=limit,
        views=views,
        partial=partial,
        by_name=_side_by_side(views, partial=partial is not None),
        shown=lambda run: aggregates(run, partial=partial is not None),
        aggregate_names=AGGREGATE_NAMES,
        right_rouge=RIGHT_ROUGE,
        tables=tables,
        about=_about,
        steps=lambda run: thinned(run.steps, _STEPS_SHOWN),
        heat=_heat,
        repeated=_repeated,
    )


def _view(name: str, run: ReportRun, *, partial: bool) -> _View:
    found = question_rows(run)
    return _View(name, run, summarize(run, found), found, chart_data.points(run, partial=partial))


def _data(views: Sequence[_View], limit: int | None) -> dict[str, object]:
    return {
        "metrics": [METRIC_NAMES[metric] for metric in METRICS],
        "plane": chart_data.plane([(view.name, view.points) for view in views]),
        "runs": [
            {
                "single": view.run.kind == "evaluation",
                "curves": chart_data.curves(view.run),
                "rows": as_data(view.rows, limit),
            }
            for view in views
        ],
    }


def _side_by_side(views: Sequence[_View], *, partial: bool) -> tables.Table | None:
    if len(views) < 2:
        return None
    bad = {view.name: (view.summary.forget.bad, view.summary.keep.bad) for view in views}
    return tables.side_by_side({view.name: view.run for view in views}, bad, partial=partial)


def _about(run: ReportRun) -> dict[str, object]:
    """Which definition and models scored, and what is missing."""
    models = [scores for _, scores in scores_of(run)]
    if run.queue is not None:
        models = models[1:]  # the first model's forget set is what each request asks for
    first = models[0] if models else None
    return {
        "definition": run.definition,
        "embedder": (first.embedder if first else None) or "none",
        "judge": (first.judge if first else None) or "none",
        "missing": {what: why for scores in models for what, why in scores.missing.items()},
    }


def _heat(run: ReportRun) -> Mapping[str, Any] | None:
    """The continual matrix: of each request its efficacy over time; and the utility that is left."""
    if run.queue is None:
        return None
    kept = utility(run.queue)
    return {
        "times": range(len(run.queue.after) + 1),
        "rows": list(zip(run.queue.requests, run.queue.forget_efficacy, strict=True)),
        "utility": [("Model Utility", kept.whole), ("Utility on retain", kept.retain)],
        "metrics": ", ".join(METRIC_NAMES[metric] for metric in run.queue.metrics) or "no metric",
    }


def _repeated(run: ReportRun) -> dict[str, str]:
    """The manifest as JSON, the command that was given, and the one that repeats the run."""
    command = "evaluate" if run.kind == "evaluation" else "run"
    manifest = run.manifest
    given = "" if manifest is None else shlex.join(["efface", *manifest.command[1:]])
    return {
        "given": clean(given) if manifest is not None and len(manifest.command) > 1 else "",
        "again": clean(shlex.join(["efface", command, str(RunPaths(run.path).config), "--out", "runs/again"])),
        "manifest": "" if manifest is None else clean(json.dumps(manifest.model_dump(), indent=2, ensure_ascii=False)),
        "settings": clean(run.settings),
    }


def _asset(name: str) -> str:
    """The text of a file beside this one, without the pointer to a source map, which a browser would ask for."""
    lines = (_ASSETS / name).read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("//# sourceMappingURL"))


def _policy(style: str, scripts: Sequence[str]) -> str:
    """No request to anywhere, and no other code than what efface wrote into the page."""
    code = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {code}; style-src {_hash(style)}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
