"""What a queue of requests scored, as tables in the terminal. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.artifacts import ContinualResults, Metric
from efface.report.downstream import tasks_of
from efface.report.rich_tables import plain_table, print_line, print_sources, shown_number
from efface.report.sanitize import one_line
from efface.scores.continual import Utility, utility

_LONGEST_NAME = 17
_COLUMNS = 11
"""So many times fit side by side into 80 columns; further ones come below."""


def print_continual(console: Console, results: ContinualResults) -> None:
    """Forget efficacy of each request's set over time, and the utility that is left."""
    print_line(
        console,
        f"{results.method.upper()}: before all requests (0) and after each ({results.definition})",
        style="bold",
    )
    kept, times = utility(results), range(len(results.after) + 1)
    for start in times[::_COLUMNS]:
        console.print(_table(results, kept, times[start : start + _COLUMNS]))
    print_line(
        console,
        f"Forget efficacy over {_names(results.metrics)}; of a request's own set, from the time that it was made.",
        style="dim",
    )
    if kept.metrics and any(each.model_utility is None for each in (results.before, *results.after)):
        print_line(
            console, f"Utility is partial: over {_names(kept.metrics)}, which all sets to keep have.", style="yellow"
        )
    if results.downstream:
        print_line(console, f"Downstream: the average of {tasks_of(results.downstream[0])}.", style="dim")
    print_line(console, "All numbers are from 0 to 1, and more is better.", style="dim")
    print_sources(console, [results.before, results.after[0]])


def _table(results: ContinualResults, kept: Utility, times: Sequence[int]) -> Table:
    found = plain_table("")
    found.padding = (0, 0)
    found.add_column("", no_wrap=True)
    for time in times:
        found.add_column(str(time), justify="right", no_wrap=True)
    found.add_row(Text("Forget efficacy", style="bold"))
    for place, (request, row) in enumerate(zip(results.requests, results.forget_efficacy, strict=True), 1):
        if times[0] == 0 or place <= times[-1]:
            cells = ("" if 0 < time < place else _short(row[time]) for time in times)
            found.add_row(Text(f"  {place}: {_name(request)}"), *cells)
    found.add_row(Text("Model utility", style="bold"), *(_short(kept.whole[time]) for time in times))
    found.add_row(Text("  on retain"), *(_short(kept.retain[time]) for time in times))
    if results.downstream:
        found.add_row(Text("Downstream", style="bold"), *(_short(results.downstream[time].average) for time in times))
    return found


def _name(request: str) -> str:
    """Of a long path its end, which tells files apart."""
    line = one_line(request)
    return line if len(line) <= _LONGEST_NAME else f"…{line[1 - _LONGEST_NAME :]}"


def _names(metrics: Sequence[Metric]) -> str:
    return ", ".join(metric.replace("_", " ") for metric in metrics) or "no metric"


def _short(value: float | None) -> str:
    """Four characters, so that ten requests fit side by side."""
    return shown_number(value).removeprefix("0")[:4]
