"""Tables of a report that HTML, Markdown, CSV and LaTeX share: cells as text, numbers with three digits. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from efface.artifacts import METRICS, ContinualResults, Downstream, Results, SetScores
from efface.report.page.load_run import ReportRun
from efface.report.page.summary import AGGREGATE_NAMES, METRIC_NAMES, aggregates, scores_of
from efface.report.rich_tables import shown_number
from efface.scores.sets import sort_names


@dataclass(frozen=True)
class Table:
    """Headings and rows; the first `names` cells of a row say what it is about."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1


def names_of(runs: Sequence[ReportRun]) -> list[str]:
    """What each run is called: the name of its folder or, where that is not its own, the whole path."""
    short = [run.path.absolute().name for run in runs]
    return [name if short.count(name) == 1 else str(run.path) for name, run in zip(short, runs, strict=True)]


def side_by_side(runs: Mapping[str, ReportRun], bad: Mapping[str, tuple[int, int]], *, partial: bool) -> Table:
    """The aggregates of every run, and how many questions leak or broke."""
    rows = []
    for name, run in runs.items():
        for stage, each in aggregates(run, partial=partial).items():
            if stage in ("before", "after"):
                counts = ["", ""] if stage == "before" else [f"{count:,}" for count in bad[name]]
                numbers = (shown_number(getattr(each, aggregate)) for aggregate in AGGREGATE_NAMES)
                shown = "" if run.kind == "evaluation" else stage
                rows.append([name, shown, (run.method or "").upper(), *numbers, *counts])
    headings = ["Run", "Stage", "Method", *AGGREGATE_NAMES.values(), "Still leaks", "Broken"]
    return Table("Runs side by side", headings, rows, names=3)


def metrics_by_set(run: ReportRun) -> Table:
    """The six metrics and the custom metrics of every set, before and after."""
    models = scores_of(run)
    names = sort_names({name for _, scores in models for name in scores.sets})
    custom = list(dict.fromkeys(key for _, scores in models for each in scores.sets.values() for key in each.custom))
    rows = [
        [name, str(each.n), stage, *_metrics(each, custom)]
        for name in names
        for stage, scores in models
        if (each := scores.sets.get(name))
    ]
    return Table("Metrics per set", ["Set", "Questions", "Stage", *METRIC_NAMES.values(), *custom], rows, names=3)


def downstream(run: ReportRun) -> Table | None:
    """Tasks of lm-evaluation-harness, where the run has some."""
    models: dict[str, Downstream] = {}
    if isinstance(run.results, ContinualResults) and run.results.downstream:
        models = {"before": run.results.downstream[0], "after": run.results.downstream[-1]}
    elif isinstance(run.results, Results) and run.results.downstream:
        models = {"before": run.results.downstream.before, "after": run.results.downstream.after}
    if not models:
        return None
    first = models["before"]
    rows = [
        [name, task.metric, str(task.n), *(shown_number(each.tasks[name].value) for each in models.values())]
        for name, task in first.tasks.items()
    ]
    rows.append(["average", "", "", *(shown_number(each.average) for each in models.values())])
    title = f"Downstream tasks (lm-evaluation-harness {first.lm_eval})"
    return Table(title, ["Task", "Metric", "Questions", "Before", "After"], rows)


def _metrics(scores: SetScores, custom: Sequence[str]) -> list[str]:
    return [
        *(shown_number(getattr(scores, metric)) for metric in METRICS),
        *(shown_number(scores.custom.get(name)) for name in custom),
    ]
