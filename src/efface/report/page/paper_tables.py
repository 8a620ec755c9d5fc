"""The same numbers as tables for papers and spreadsheets: Markdown, CSV, LaTeX. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Literal, cast

from efface.artifacts import METRICS, SetScores
from efface.report.export import Cell, flat_table
from efface.report.page import tables
from efface.report.page.load_run import ReportRun
from efface.report.page.question_rows import QuestionRow, question_rows
from efface.report.page.summary import (
    AGGREGATE_NAMES,
    METRIC_NAMES,
    aggregates,
    partial_metrics,
    scores_of,
    summarize,
)
from efface.report.sanitize import one_line

_FACTS = ("run", "method", "definition", "unfinished", "stage", "set", "id", "n")
_TEXTS = ("verdict", "question", "answer", "output")


def papers(runs: Sequence[ReportRun], form: Literal["markdown", "latex"]) -> str:
    """The aggregates of all runs and the metrics of each, as tables with a line above; LaTeX needs booktabs."""
    named = dict(zip(tables.names_of(runs), runs, strict=True))
    partial = partial_metrics([scores for run in runs for _, scores in scores_of(run)])
    parts = ["% needs \\usepackage{booktabs}\n"] if form == "latex" else []
    if partial:
        over = "; or ".join(", ".join(METRIC_NAMES[metric] for metric in metrics) or "none" for metrics in partial)
        parts.append(_line(form, f"Utility and efficacy are partial: over {over} alone."))
    parts += [_line(form, f"Unfinished: {run.unfinished}", name) for name, run in named.items() if run.unfinished]
    parts.append(_table(form, tables.side_by_side(named, _bad(named), partial=partial is not None), "Scores"))
    for name, run in named.items():
        parts.append(_table(form, tables.metrics_by_set(run), f"Metrics per set ({run.definition})", name))
    return "\n".join(parts)


def spreadsheet(runs: Sequence[ReportRun]) -> str:
    """One CSV table: a row for each model, epoch or request, for each set, and for each question.

    Text that a spreadsheet would take for a formula opens with an apostrophe.
    """
    partial = partial_metrics([scores for run in runs for _, scores in scores_of(run)]) is not None
    scored = [each for run in runs for _, scores in scores_of(run) for each in scores.sets.values()]
    custom = dict.fromkeys(f"custom_{key}" for each in scored for key in each.custom)
    shared = [f"partial_{name}" for name in AGGREGATE_NAMES] if partial else []
    columns = [*_FACTS, *AGGREGATE_NAMES, *shared, *METRICS, *custom, *_TEXTS]
    lines = []
    for name, run in zip(tables.names_of(runs), runs, strict=True):
        facts = {"run": name, "method": run.method, "definition": run.definition, "unfinished": run.unfinished}
        lines += [[{**facts, **values}.get(column) for column in columns] for values in _lines(run, partial=partial)]
    return flat_table("csv", columns, cast(list[list[Cell]], lines))


def _lines(run: ReportRun, *, partial: bool) -> Iterable[dict[str, object]]:
    whole, shared = aggregates(run, partial=False), aggregates(run, partial=True)
    for stage, numbers in whole.items():
        values: dict[str, object] = {"stage": "" if run.kind == "evaluation" else stage, **asdict(numbers)}
        if partial:
            values |= {f"partial_{name}": value for name, value in asdict(shared[stage]).items()}
        yield values
    for stage, scores in scores_of(run):
        for name, each in scores.sets.items():
            yield {"stage": stage, "set": name, "n": each.n, **_metrics(each)}
    for row in question_rows(run):
        yield from _questions(row, single=run.kind == "evaluation")


def _metrics(scores: SetScores) -> dict[str, object]:
    six: dict[str, object] = {metric: getattr(scores, metric) for metric in METRICS}
    return six | {f"custom_{name}": value for name, value in scores.custom.items()}


def _questions(row: QuestionRow, *, single: bool) -> Iterable[dict[str, object]]:
    shared = {"set": row.set, "id": row.id, "verdict": row.verdict, "question": row.question, "answer": row.answer}
    for stage, output, scores in (
        ("before", row.before, row.before_scores),
        ("" if single else "after", row.after, row.after_scores),
    ):
        if scores is not None:
            yield {**shared, "stage": stage, "output": output, **dict(zip(METRICS, scores, strict=True))}


def _bad(runs: Mapping[str, ReportRun]) -> dict[str, tuple[int, int]]:
    found = {name: summarize(run, question_rows(run)) for name, run in runs.items()}
    return {name: (each.forget.bad, each.keep.bad) for name, each in found.items()}


def _table(form: Literal["markdown", "latex"], table: tables.Table, title: str, name: str = "") -> str:
    above = _line(form, title, name) + ("\n" if form == "markdown" else "")
    return above + flat_table(form, table.headings, table.rows)


def _line(form: Literal["markdown", "latex"], text: str, name: str = "") -> str:
    """A line above a table; a run's name may hold anything."""
    harmless = one_line(name).replace("`", "'")
    if form == "latex":
        return f"% {one_line(text)}{f': {harmless}' if name else ''}\n"
    return f"{one_line(text)}{f': `{harmless}`' if name else ''}\n"
