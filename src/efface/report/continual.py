"""What a queue of requests scored, as tables in the terminal. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from efface.artifacts import ContinualResults, Scores
from efface.report.parts import plain_table, print_line, print_sources, shown_number
from efface.report.text import one_line

_LONGEST_NAME = 20


def print_continual(console: Console, results: ContinualResults) -> None:
    """Forget efficacy of each request's set over time, and the utility that is left."""
    whole = all(each.model_utility is not None for each in (results.before, *results.after))
    found = plain_table(f"{results.method.upper()}: before all requests (0) and after each ({results.definition})")
    found.add_column("")
    for time in range(len(results.after) + 1):
        found.add_column(str(time), justify="right")
    found.add_row(Text("Forget efficacy", style="bold"))
    for place, (request, row) in enumerate(zip(results.requests, results.forget_efficacy, strict=True), 1):
        name = Text(f"  {place}: {one_line(request, _LONGEST_NAME)}")
        found.add_row(
            name, *("" if value is None and place > time else _short(value) for time, value in enumerate(row))
        )
    for heading, retain in (("Model utility", False), ("  on retain", True)):
        found.add_row(Text(heading, style="" if retain else "bold"), *_utilities(results, whole=whole, retain=retain))
    console.print(found)
    over = ", ".join(metric.replace("_", " ") for metric in results.metrics) or "no metric"
    print_line(
        console, f"Forget efficacy over {over}; of a request's own set, from the time that it was made.", style="dim"
    )
    if not whole:
        shared = ", ".join(metric.replace("_", " ") for metric in results.after[-1].partial.metrics)
        print_line(console, f"Utility is partial: over {shared} alone, which all sets have.", style="yellow")
    print_line(console, "All numbers are from 0 to 1, and more is better.", style="dim")
    print_sources(console, [results.before, results.after[0]])


def _utilities(results: ContinualResults, *, whole: bool, retain: bool) -> list[str]:
    models: Sequence[Scores] = (results.before, *results.after)
    shown = models if whole else [each.partial for each in models]
    return [_short(each.model_utility_retain if retain else each.model_utility) for each in shown]


def _short(value: float | None) -> str:
    """Without the leading 0, so that ten requests fit side by side."""
    return shown_number(value).removeprefix("0")
