"""Names and what is to be said of each, in two columns. No torch."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.report.sanitize import one_line


def print_key_values(console: Console, title: str, facts: Iterable[tuple[str, str]]) -> None:
    """A title and, below it, each name with its text, which may quote data or paths.

    Texts are wrapped beside the names in a terminal; elsewhere, where they are searched or copied, they are lines.
    """
    console.print(Text(one_line(title), style="bold"))
    if not console.is_terminal:
        for name, text in facts:
            console.print(Text(f"  {name}: {one_line(text)}"), soft_wrap=True)
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in facts:
        grid.add_row(Text(f"  {name}"), Text(one_line(text)))
    console.print(grid)


def pluralize(count: int, one: str) -> str:
    """A number of things, such as `1 question` or `1,200 questions`; `one` is what a single thing is called."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def format_bytes(count: int) -> str:
    """A number of bytes with three digits and a unit, such as `1.23 GiB`."""
    value, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 999.5:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}"
