"""The numbers of a report as tables for papers and spreadsheets: Markdown, LaTeX, CSV. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Literal, cast

from efface.artifacts import METRICS, UNCOUNTED_METRICS, SetScores
from efface.report.export import Cell, flat_table
from efface.report.metric_names import AGGREGATE_NAMES, METRIC_NAMES
from efface.report.page import tables
from efface.report.page.load_run import ReportRun
from efface.report.page.questions.question_outcomes import QuestionOutcome, question_outcomes
from efface.report.page.summary import (
    aggregates_by_stage,
    partial_metrics,
    scores_by_stage,
    summarize,
)
from efface.report.sanitize import one_line

RUN_COLUMNS = ("run", "method", "definition", "unfinished", "stage", "set", "id", "n")
"""The first columns of the CSV."""
_TEXT_COLUMNS = ("verdict", "question", "answer", "output")

PaperFormat = Literal["markdown", "latex"]


def render_paper_tables(runs: Sequence[ReportRun], form: PaperFormat) -> str:
    """Write the aggregates of all runs and the metrics of each.

    Args:
        runs: All runs of the report.
        form: LaTeX needs the package booktabs.

    Returns:
        Several tables, each with a line above it.
    """
    by_name = dict(zip(tables.run_names(runs), runs, strict=True))
    partial = partial_metrics([scores for run in runs for _, scores in scores_by_stage(run)])
    parts = ["% needs \\usepackage{booktabs}\n"] if form == "latex" else []
    if partial:
        over = "; or ".join(", ".join(METRIC_NAMES[metric] for metric in metrics) or "none" for metrics in partial)
        parts.append(_caption(form, f"Utility and efficacy are partial, over {over}."))
    parts += [_caption(form, f"Unfinished: {run.unfinished}", name) for name, run in by_name.items() if run.unfinished]
    aggregates = tables.aggregates_table(
        by_name, {name: summarize(run) for name, run in by_name.items()}, partial=partial is not None
    )
    parts.append(_table(form, aggregates, "Scores"))
    for name, run in by_name.items():
        parts.append(_table(form, tables.metrics_table(run), f"Metrics by set ({run.definition})", name))
    return "\n".join(parts)


def render_csv(runs: Sequence[ReportRun]) -> str:
    """Write everything as one CSV table.

    Args:
        runs: All runs of the report.

    Returns:
        One row per model, epoch or request, one per set, and one per question. Text that a spreadsheet would evaluate
        as a formula starts with an apostrophe.
    """
    partial = partial_metrics([scores for run in runs for _, scores in scores_by_stage(run)]) is not None
    sets = [each for run in runs for _, scores in scores_by_stage(run) for each in scores.sets.values()]
    uncounted = [name for name in UNCOUNTED_METRICS if any(name in each.uncounted for each in sets)]
    custom = dict.fromkeys(f"custom_{key}" for each in sets for key in each.custom)
    partial_columns = [f"partial_{name}" for name in AGGREGATE_NAMES] if partial else []
    columns = [*RUN_COLUMNS, *AGGREGATE_NAMES, *partial_columns, *METRICS, *uncounted, *custom, *_TEXT_COLUMNS]
    rows = []
    for name, run in zip(tables.run_names(runs), runs, strict=True):
        facts = {"run": name, "method": run.method, "definition": run.definition, "unfinished": run.unfinished}
        rows += [[{**facts, **values}.get(column) for column in columns] for values in _rows(run, partial=partial)]
    return flat_table("csv", columns, cast(list[list[Cell]], rows))


def _rows(run: ReportRun, *, partial: bool) -> Iterable[dict[str, object]]:
    """Column -> value for each row of a run; columns that are missing stay empty."""
    complete, shared = aggregates_by_stage(run, partial=False), aggregates_by_stage(run, partial=True)
    for stage, numbers in complete.items():
        values: dict[str, object] = {"stage": "" if run.kind == "evaluation" else stage, **asdict(numbers)}
        if partial:
            values |= {f"partial_{name}": value for name, value in asdict(shared[stage]).items()}
        yield values
    for stage, scores in scores_by_stage(run):
        for name, each in scores.sets.items():
            yield {"stage": stage, "set": name, "n": each.n, **_set_metrics(each)}
    for outcome in question_outcomes(run):
        yield from _question_rows(outcome, single=run.kind == "evaluation")


def _set_metrics(scores: SetScores) -> dict[str, object]:
    values: dict[str, object] = {metric: getattr(scores, metric) for metric in (*METRICS, *UNCOUNTED_METRICS)}
    return values | {f"custom_{name}": value for name, value in scores.custom.items()}


def _question_rows(outcome: QuestionOutcome, *, single: bool) -> Iterable[dict[str, object]]:
    shared = {name: getattr(outcome, name) for name in ("set", "id", "verdict", "question", "answer")}
    for stage, output, scores in (
        ("before", outcome.output_before, outcome.scores_before),
        ("" if single else "after", outcome.output_after, outcome.scores_after),
    ):
        if scores is not None:
            yield {**shared, "stage": stage, "output": output, **dict(zip(METRICS, scores, strict=True))}


def _table(form: PaperFormat, table: tables.Table, title: str, name: str = "") -> str:
    caption = _caption(form, title, name) + ("\n" if form == "markdown" else "")
    return caption + flat_table(form, table.headings, table.rows)


def _caption(form: PaperFormat, text: str, name: str = "") -> str:
    """A line above a table; `name` is that of a run and untrusted."""
    safe = one_line(name).replace("`", "'")
    if form == "latex":
        return f"% {one_line(text)}{f': {safe}' if name else ''}\n"
    return f"{one_line(text)}{f': `{safe}`' if name else ''}\n"
