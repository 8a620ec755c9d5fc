"""Names and texts in two columns. No torch."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.report.sanitize import one_line


def print_key_values(console: Console, title: str, facts: Iterable[tuple[str, str]]) -> None:
    """Print a title and, below it, names with their texts.

    In a terminal, texts are wrapped next to the names; elsewhere, where output is searched or copied, each is one line.

    Args:
        console: Where to print.
        title: A line above; may contain untrusted text.
        facts: (name, text); texts may contain untrusted data and paths.
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
