"""Tables that the page, Markdown and LaTeX share; their cells are text. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from efface.artifacts import METRICS, ContinualResults, Downstream, Results, SetScores, Verdict
from efface.report.metric_names import AGGREGATE_NAMES, METRIC_NAMES, UNCOUNTED_NAMES
from efface.report.number_format import format_number
from efface.report.page.load_run import ReportRun
from efface.report.page.summary import (
    Summary,
    aggregates_by_stage,
    scores_by_stage,
)
from efface.report.paths import shorten_paths
from efface.report.verdict_text import ANSWER_TYPES, answer_shares, short_forget, short_retain
from efface.scores.sets import sort_names


@dataclass(frozen=True)
class Table:
    """Headings and rows."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    row_headings: int = 1
    """How many cells at the start of each row are its heading."""


def run_names(runs: Sequence[ReportRun]) -> list[str]:
    """Name each run.

    Args:
        runs: All runs of the report.

    Returns:
        The name of each folder or, where several folders have the same name, its path.
    """
    names = [run.path.absolute().name for run in runs]
    return [
        name if names.count(name) == 1 else shorten_paths(str(run.path)) for name, run in zip(names, runs, strict=True)
    ]


def aggregates_table(runs: Mapping[str, ReportRun], summaries: Mapping[str, Summary], *, partial: bool) -> Table:
    """Compare the aggregates of all runs.

    Args:
        runs: Name -> run.
        summaries: Name -> the verdict on the run.
        partial: Whether to use the partial aggregates.

    Returns:
        One row per run and stage (before, after).
    """
    rows = []
    for name, run in runs.items():
        for stage, each in aggregates_by_stage(run, partial=partial).items():
            if stage in ("before", "after"):
                found = summaries[name].verdict
                single = run.kind == "evaluation"
                forget = short_forget(found.forget, single=single)
                short = ["", ""] if stage == "before" else [forget, short_retain(found.retain)]
                numbers = (format_number(getattr(each, aggregate)) for aggregate in AGGREGATE_NAMES)
                shown = "" if single else stage
                rows.append([name, shown, (run.method or "").upper(), *numbers, *short])
    headings = ["Run", "Stage", "Method", *AGGREGATE_NAMES.values(), "Forgot?", "Kept"]
    return Table("Runs side by side", headings, rows, row_headings=3)


def metrics_table(run: ReportRun) -> Table:
    """List the metrics of every set, before and after, those that no aggregate includes last."""
    models = scores_by_stage(run)
    names = sort_names({name for _, scores in models for name in scores.sets})
    others = list(dict.fromkeys(key for _, scores in models for each in scores.sets.values() for key in each.uncounted))
    rows = [
        [name, str(each.n), stage, *_metrics(each, others)]
        for name in names
        for stage, scores in models
        if (each := scores.sets.get(name))
    ]
    headings = [
        "Set",
        "Questions",
        "Stage",
        *METRIC_NAMES.values(),
        *(UNCOUNTED_NAMES.get(name, name) for name in others),
    ]
    return Table("Metrics by set", headings, rows, row_headings=3)


def answers_table(verdict: Verdict) -> Table:
    """List how many answers to every set are correct, declined, made up or empty, before and after."""
    rows = [
        [name, f"{types.n:,}", stage, *answer_shares(types)]
        for name in sort_names(verdict.answers_after)
        for stage, types in (("before", verdict.answers_before.get(name)), ("after", verdict.answers_after[name]))
        if types is not None
    ]
    return Table("Answers by set", ["Set", "Questions", "Stage", *ANSWER_TYPES.values()], rows, row_headings=3)


def downstream_table(run: ReportRun) -> Table | None:
    """List the scores on downstream tasks before and after; None where the run has none."""
    models: dict[str, Downstream] = {}
    if isinstance(run.results, ContinualResults) and run.results.downstream:
        models = {"before": run.results.downstream[0], "after": run.results.downstream[-1]}
    elif isinstance(run.results, Results) and run.results.downstream:
        models = {"before": run.results.downstream.before, "after": run.results.downstream.after}
    if not models:
        return None
    first = models["before"]
    rows = [
        [name, task.metric, str(task.n), *(format_number(each.tasks[name].value) for each in models.values())]
        for name, task in first.tasks.items()
    ]
    rows.append(["average", "", "", *(format_number(each.average) for each in models.values())])
    title = f"Downstream tasks (lm-evaluation-harness {first.lm_eval})"
    return Table(title, ["Task", "Metric", "Questions", "Before", "After"], rows)


def _metrics(scores: SetScores, others: Sequence[str]) -> list[str]:
    return [
        *(format_number(getattr(scores, metric)) for metric in METRICS),
        *(format_number(scores.uncounted.get(name)) for name in others),
    ]
