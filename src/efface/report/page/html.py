"""The report as one HTML file that requests nothing from a network. No torch."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from efface.artifacts import METRICS, Results
from efface.files.folders import RunPaths
from efface.report.metric_names import AGGREGATE_NAMES, METRIC_NAMES
from efface.report.number_format import format_number
from efface.report.page import chart_data, tables
from efface.report.page.escape import script_json, visible_controls
from efface.report.page.load_run import ReportRun
from efface.report.page.loss_curve import downsample
from efface.report.page.questions.explorer_data import explorer_data, text_limit
from efface.report.page.questions.question_outcomes import QuestionOutcome, question_outcomes
from efface.report.page.sections.audit_section import AuditSection, audit_section, relearn_curves
from efface.report.page.sections.lens_layers import lens_curves
from efface.report.page.sections.tune_section import tune_section
from efface.report.page.summary import (
    Summary,
    aggregates_by_stage,
    partial_metrics,
    scores_by_stage,
    summarize,
)
from efface.report.paths import shorten_paths
from efface.report.verdict_text import EFFICACY, RULE, keep_sentence, next_step
from efface.scores.continual import utility

_ASSETS = files("efface.report.page") / "assets"
_TABLE_STEPS = 12
"""Optimizer steps in the table below a training chart."""


@dataclass(frozen=True)
class _View:
    """What the template shows of one run."""

    name: str
    run: ReportRun
    summary: Summary
    outcomes: Sequence[QuestionOutcome]
    points: Sequence[chart_data.Point]
    audit: AuditSection | None
    """None where the run was not audited."""


def render_page(runs: Sequence[ReportRun], *, version: str) -> str:
    """Render a report.

    Args:
        runs: The runs to show, side by side.
        version: The version of efface.

    Returns:
        A complete HTML document, the most important things first.
    """
    from jinja2 import Environment, StrictUndefined

    names = [visible_controls(name) for name in tables.run_names(runs)]
    models = [scores for run in runs for _, scores in scores_by_stage(run)]
    partial = partial_metrics(models)
    views = [_view(name, run, partial=partial is not None) for name, run in zip(names, runs, strict=True)]
    limit = text_limit([view.outcomes for view in views])
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": format_number, "clean": visible_controls, "shorten": shorten_paths}
    style, scripts = _asset("page.css"), (_asset("chart.umd.min.js"), _asset("page.js"))
    return environment.from_string(_asset("page.html.j2")).render(
        version=version,
        policy=_content_security_policy(style, scripts),
        style=environment.filters["safe"](style),
        scripts=[environment.filters["safe"](script) for script in scripts],
        data=script_json(_script_data(views, limit)),
        limit=limit,
        views=views,
        partial=partial,
        comparison=_comparison(views, partial=partial is not None),
        aggregates=lambda run: aggregates_by_stage(run, partial=partial is not None),
        aggregate_names=AGGREGATE_NAMES,
        rule=RULE,
        efficacy=EFFICACY,
        counts=_counts,
        about=_about,
        next_step=_next_step,
        keep_note=_keep_note,
        tables=tables,
        relearned=relearn_curves,
        lens=lens_curves,
        sources=_sources,
        steps=lambda run: downsample(run.steps, _TABLE_STEPS),
        continual_matrix=_continual_matrix,
        tune_section=tune_section,
        reproduction=_reproduction,
    )


def _view(name: str, run: ReportRun, *, partial: bool) -> _View:
    outcomes = question_outcomes(run)
    points = chart_data.scatter_points(run, partial=partial)
    return _View(name, run, summarize(run), outcomes, points, audit_section(run, outcomes))


def _script_data(views: Sequence[_View], limit: int | None) -> dict[str, object]:
    return {
        "metrics": [METRIC_NAMES[metric] for metric in METRICS],
        "scatter": chart_data.scatter_data([(view.name, view.points) for view in views]),
        "runs": [
            {
                "single": view.run.kind == "evaluation",
                "curves": chart_data.loss_curves(view.run),
                "watched": chart_data.watch_curves(view.run),
                "relearned": relearn_curves(view.run),
                "lens": lens_curves(view.run),
                **({"tune": section.chart} if (section := tune_section(view.run)) else {}),
                "questions": explorer_data(view.outcomes, limit),
            }
            for view in views
        ],
    }


def _comparison(views: Sequence[_View], *, partial: bool) -> tables.Table | None:
    if len(views) < 2:
        return None
    summaries = {view.name: view.summary for view in views}
    return tables.aggregates_table({view.name: view.run for view in views}, summaries, partial=partial)


def _about(run: ReportRun) -> list[str]:
    """The model, the data and the day of a run, as far as the manifest has them."""
    manifest = run.manifest
    if manifest is None:
        return []
    files = [shorten_paths(name).rpartition("/")[2] for name in manifest.data]
    data = f"data: {', '.join(files[:2])}{' and more' if len(files) > 2 else ''}" if files else ""
    return [each for each in (f"model: {shorten_paths(manifest.model)}", data, manifest.started[:10]) if each]


def _keep_note(run: ReportRun) -> str:
    """Where `keep` ended the training; empty without it."""
    return keep_sentence(run.results.keep) if isinstance(run.results, Results) and run.results.keep else ""


def _next_step(view: _View) -> str:
    keep = view.run.results.keep if isinstance(view.run.results, Results) else None
    searched = tune_section(view.run) is not None
    return next_step(view.summary.verdict, searched=searched, bounded=keep is not None and keep.reason == "bound")


def _counts(outcomes: Sequence[QuestionOutcome]) -> dict[str, int]:
    """How many questions the buttons of the explorer show."""
    found = [each.verdict for each in outcomes]
    return {outcome: found.count(outcome) for outcome in ("leaks", "likely", "broken", "changed")}


def _sources(run: ReportRun) -> dict[str, object]:
    """The definition and the models that the scores come from, what is missing, and notes."""
    models = [scores for _, scores in scores_by_stage(run)]
    if run.queue is not None:
        models = models[1:]  # the first model has no set `forget`, only those of the requests
    first = models[0] if models else None
    return {
        "definition": run.definition,
        "embedder": shorten_paths((first.embedder if first else None) or "none"),
        "judge": shorten_paths((first.judge if first else None) or "none"),
        "gibberish_detector": shorten_paths((first.gibberish_detector if first else None) or ""),
        "missing": {metric: shorten_paths(reason) for scores in models for metric, reason in scores.missing.items()},
        "notes": {metric: note for scores in models for metric, note in scores.notes.items()},
    }


def _continual_matrix(run: ReportRun) -> Mapping[str, Any] | None:
    """The forget efficacy of each request over time, and the model utility; None for a single run."""
    if run.queue is None:
        return None
    over_time = utility(run.queue)
    return {
        "times": range(len(run.queue.after) + 1),
        "rows": list(zip(map(shorten_paths, run.queue.requests), run.queue.forget_efficacy, strict=True)),
        "utility": [
            (AGGREGATE_NAMES["model_utility"], over_time.whole),
            (AGGREGATE_NAMES["model_utility_retain"], over_time.retain),
        ],
        "metrics": ", ".join(METRIC_NAMES[metric] for metric in run.queue.metrics) or "no metric",
    }


def _reproduction(run: ReportRun) -> dict[str, str]:
    """The command that started the run, the one that repeats it, the manifest as JSON, and config.yaml."""
    subcommand = "evaluate" if run.kind == "evaluation" else "run"
    manifest = run.manifest
    started = "" if manifest is None else shlex.join(["efface", *manifest.command[1:]])
    repeat = shlex.join(["efface", subcommand, str(RunPaths(run.path).config), "--out", "runs/again"])
    manifest_json = "" if manifest is None else json.dumps(manifest.model_dump(), indent=2, ensure_ascii=False)
    return {
        "started": _shown(started) if manifest is not None and len(manifest.command) > 1 else "",
        "repeat": _shown(repeat),
        "manifest": _shown(manifest_json),
        "config": _shown(run.config_text),
    }


def _shown(text: str) -> str:
    return visible_controls(shorten_paths(text))


def _asset(name: str) -> str:
    """The text of a file in assets, without the reference to a source map, which a browser would request."""
    lines = (_ASSETS / name).read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("//# sourceMappingURL"))


def _content_security_policy(style: str, scripts: Sequence[str]) -> str:
    """Allow no request, and no code except the page's scripts and style."""
    code = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {code}; style-src {_hash(style)}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
