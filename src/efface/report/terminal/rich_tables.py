"""The style that all tables of scores share. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.artifacts import Metric, Scores
from efface.report.sanitize import one_line

_MAX_LINE_LENGTH = 300


def empty_table(title: str, *, show_lines: bool = False) -> Table:
    """Make a table without columns and rows.

    Args:
        title: Printed above it; never read as markup.
        show_lines: Whether rows are separated by lines, for cells of several lines.

    Returns:
        The table, in the style of all tables.
    """
    return Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        header_style="",
        box=box.HORIZONTALS if show_lines else box.SIMPLE_HEAD,
        show_lines=show_lines,
        pad_edge=False,
    )


def print_line(console: Console, text: str, *, style: str = "") -> None:
    """Print one line.

    Args:
        console: Where to print.
        text: May contain untrusted text, such as that of records or logs; long text is cut.
        style: A rich style, such as `dim`.
    """
    console.print(Text(one_line(text, _MAX_LINE_LENGTH)), style=style)


def print_sources(console: Console, models: Sequence[Scores], *, reasons: bool = True) -> None:
    """Print which embedding model and judge the scores come from, which metrics are missing and why, and notes.

    Args:
        console: Where to print.
        models: The scores of each model in the table above; the same models scored all of them.
        reasons: Whether to say why each metric is missing, a line each; a run has warned of it before.
    """
    first = models[0]
    detector = "" if first.gibberish_detector is None else f"; gibberish detector: {first.gibberish_detector}"
    sources = f"Embeddings: {first.embedder or 'none'}; judge: {first.judge or 'none'}{detector}."
    print_line(console, sources, style="dim")
    missing = {metric: reason for scores in models for metric, reason in scores.missing.items()}
    if missing and not reasons:
        names = ", ".join(each.replace("_", " ") for each in missing)
        print_line(console, f"missing: {names}; results.json and efface report say why", style="yellow")
    for metric, reason in missing.items() if reasons else ():
        print_line(console, f"missing {metric}: {reason}", style="yellow")
    for metric, note in {metric: note for scores in models for metric, note in scores.notes.items()}.items():
        print_line(console, f"{metric} on {note}", style="yellow")


def output_text(output: str | None, max_length: int) -> Text:
    """Format what a model generated: untrusted, so never read as markup.

    Args:
        output: The generated text; None where the model was not asked.
        max_length: Maximum number of characters.

    Returns:
        One line; `(nothing)` for an empty output, a dash for None.
    """
    if output is None:
        return Text("-")
    line = one_line(output, max_length)
    return Text(line) if line else Text("(nothing)", style="dim")


def join_metrics(metrics: Iterable[Metric]) -> str:
    """Join the names of metrics, such as `rouge, truth ratio`; `no metric` where there is none."""
    return ", ".join(metric.replace("_", " ") for metric in metrics) or "no metric"
