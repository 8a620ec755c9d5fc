"""The table of a sweep in the terminal. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from efface.artifacts import Metric
from efface.report.number_format import format_number
from efface.report.sanitize import one_line
from efface.report.terminal.rich_tables import empty_table, join_metrics, print_line
from efface.sweep.table import (
    ComparableGroup,
    Spread,
    SummaryRow,
    SweepTable,
    combination_name,
    display_value,
)

_AGGREGATES = {
    "model_utility": "Model\nutility",
    "model_utility_retain": "Utility\non retain",
    "forget_efficacy": "Forget\nefficacy",
}


def print_sweep_table(console: Console, table: SweepTable) -> None:
    """Print one table per group, with partial aggregates where an aggregate is missing; then failures and notes.

    Args:
        console: Where to print.
        table: The results.
    """
    for group in table.groups:
        _print_group(console, group)
    for failure in table.failures:
        print_line(console, f"failed: {failure}", style="red")
    for note in table.notes:
        print_line(console, f"note: {note}", style="yellow")
    spread = "± is the standard deviation over seeds" if _has_spread(table) else "one seed each"
    print_line(console, f"From 0 to 1; higher utility and efficacy are better; {spread}.", style="dim")


def _print_group(console: Console, group: ComparableGroup) -> None:
    metrics = _partial_metrics(group.rows)
    heading = "Scores" if metrics is None else "Partial scores"
    after = "" if group.requests is None else f" after {group.requests} requests"
    title = f"{heading}{after} ({group.definition})" + (f": {combination_name(group.where)}" if group.where else "")
    table = empty_table(one_line(title))
    keys = list(dict.fromkeys(key for row in group.rows for key in row.settings))
    for key in keys:
        table.add_column(Text(key), overflow="fold")
    downstream = any(row.downstream for row in group.rows)
    for heading in (*_AGGREGATES.values(), *(["Downstream"] if downstream else []), "n"):
        table.add_column(heading, justify="right")
    for row in group.rows:
        names = (
            [display_value(row.settings[key]) for key in keys]
            if row.baseline is None
            else [row.baseline, *[""] * (len(keys) - 1)]
        )
        means = row if metrics is None else row.partial
        numbers = [_number(getattr(means, aggregate, None)) for aggregate in _AGGREGATES]
        numbers += [_number(row.downstream)] if downstream else []
        count = f"{row.n}, {len(row.failed)} failed" if row.failed else str(row.n)
        table.add_row(*(Text(one_line(name)) for name in names), *numbers, count)
    console.print(table)
    if metrics is not None:
        print_line(console, f"Partial: over {join_metrics(metrics)}, the metrics that all sets have.", style="yellow")
    if group.requests is not None:
        print_line(console, "Forget efficacy is that on the forget set of the last request.", style="dim")


def _partial_metrics(rows: Sequence[SummaryRow]) -> list[Metric] | None:
    """The metrics of the partial aggregates, where one is needed and all rows have the same metrics; else None."""
    scored = [row for row in rows if row.n]
    needed = any(
        getattr(row, aggregate) is None and getattr(row.partial, aggregate, None) is not None
        for row in scored
        for aggregate in _AGGREGATES
    )
    metrics = [None if row.partial is None else row.partial.metrics for row in scored]
    return metrics[0] if needed and all(each == metrics[0] for each in metrics) else None


def _number(value: Spread | None) -> str:
    if value is None:
        return format_number(None)
    spread = "" if value.spread is None else f" ± {format_number(value.spread)}"
    return f"{format_number(value.mean)}{spread}"


def _has_spread(table: SweepTable) -> bool:
    return any(row.n > 1 for group in table.groups for row in group.rows)
