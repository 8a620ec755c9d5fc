"""What the tables of scores have in common. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.artifacts import Scores
from efface.report.sanitize import one_line

_LONGEST_REASON = 300


def print_sources(console: Console, models: Sequence[Scores]) -> None:
    """Which models judged, and what is missing."""
    first = models[0]
    print_line(console, f"Embeddings: {first.embedder or 'none'}; judge: {first.judge or 'none'}.", style="dim")
    for what, why in {what: why for scores in models for what, why in scores.missing.items()}.items():
        print_line(console, f"missing {what}: {why}", style="yellow")


def print_line(console: Console, text: str, *, style: str = "") -> None:
    """A line that may quote records or logs."""
    console.print(Text(one_line(text, _LONGEST_REASON)), style=style)


def plain_table(title: str, *, show_lines: bool = False) -> Table:
    """An empty table with a heading, in the style of all."""
    return Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        header_style="",
        box=box.HORIZONTALS if show_lines else box.SIMPLE_HEAD,
        show_lines=show_lines,
        pad_edge=False,
    )


def shown_number(value: float | None) -> str:
    """Three digits behind the point, or a dash."""
    return "-" if value is None else f"{value:.3f}"
