"""The scores of a queue of requests over time, as tables in the terminal. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.artifacts import ContinualResults
from efface.report.number_format import format_number
from efface.report.sanitize import one_line
from efface.report.terminal.downstream import describe_tasks
from efface.report.terminal.rich_tables import empty_table, join_metrics, print_line, print_sources
from efface.report.terminal.verdicts import print_verdicts
from efface.scores.continual import UtilityOverTime, efficacy_so_far, utility

_MAX_NAME_LENGTH = 17
_MAX_COLUMNS = 11
"""As many points in time as fit into 80 columns; more go into a table below."""


def print_continual(console: Console, results: ContinualResults) -> None:
    """Print the forget efficacy of each request's forget set and the model utility, before all requests and after each.

    Args:
        console: Where to print.
        results: What `results.json` of a queue contains.
    """
    print_line(
        console,
        f"{results.method.upper()}: before all requests (0) and after each ({results.definition})",
        style="bold",
    )
    over_time, times = utility(results), range(len(results.after) + 1)
    for start in times[::_MAX_COLUMNS]:
        console.print(_table(results, over_time, times[start : start + _MAX_COLUMNS]))
    print_line(
        console,
        f"Forget efficacy: 1 - the mean of {join_metrics(results.metrics)} on a forget set; below, the mean over the "
        "forget sets of all requests so far, as in the report and the leaderboard.",
        style="dim",
    )
    if over_time.metrics and any(each.model_utility is None for each in (results.before, *results.after)):
        print_line(
            console,
            f"Utility is partial: over {join_metrics(over_time.metrics)}, the metrics that all its sets have.",
            style="yellow",
        )
    if results.downstream:
        print_line(console, f"Downstream: the average of {describe_tasks(results.downstream[0])}.", style="dim")
    print_line(console, "All numbers are from 0 to 1; higher is better.", style="dim")
    print_sources(console, [results.before, results.after[0]], reasons=False)
    if results.verdict is not None:
        print_verdicts(console, {results.method: results.verdict})


def _table(results: ContinualResults, over_time: UtilityOverTime, times: Sequence[int]) -> Table:
    """The columns of these points in time: 0 before all requests, t after request t."""
    table = empty_table("")
    table.padding = (0, 0)
    table.add_column("", no_wrap=True)
    for time in times:
        table.add_column(str(time), justify="right", no_wrap=True)
    table.add_row(Text("Forget efficacy", style="bold"))
    for number, (request, row) in enumerate(zip(results.requests, results.forget_efficacy, strict=True), 1):
        if times[0] == 0 or number <= times[-1]:
            cells = ("" if 0 < time < number else _four_characters(row[time]) for time in times)
            table.add_row(Text(f"  {number}: {_shorten(request)}"), *cells)
    efficacy = efficacy_so_far(results)
    table.add_row(Text("  all so far"), *(_four_characters(efficacy[time]) for time in times))
    table.add_row(Text("Model utility", style="bold"), *(_four_characters(over_time.whole[time]) for time in times))
    table.add_row(Text("  on retain"), *(_four_characters(over_time.retain[time]) for time in times))
    if results.downstream:
        averages = (_four_characters(results.downstream[time].average) for time in times)
        table.add_row(Text("Downstream", style="bold"), *averages)
    return table


def _shorten(request: str) -> str:
    """The end of a long path, which distinguishes files."""
    line = one_line(request)
    return line if len(line) <= _MAX_NAME_LENGTH else f"…{line[1 - _MAX_NAME_LENGTH :]}"


def _four_characters(value: float | None) -> str:
    """A score without its leading zero, so that ten requests fit into a row."""
    return format_number(value).removeprefix("0")[:4]
