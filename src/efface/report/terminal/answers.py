"""Answers before and after unlearning, side by side in the terminal. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.records import Record
from efface.report.terminal.rich_tables import empty_table, output_text
from efface.spacing import evenly_spaced

_MAX_LENGTH = 100


def print_answers(
    console: Console, before: Sequence[Record], after: Mapping[str, Sequence[Record]], *, title: str, count: int = 3
) -> None:
    """Print what the models answered to the same questions.

    Args:
        console: Where to print.
        before: Records of the model before unlearning.
        after: Method -> records of its model, matched to `before` by their ids.
        title: Printed above.
        count: How many questions at most, evenly spaced among those that all models answered.
    """
    table = empty_table(title, show_lines=True)
    for name, ratio in (("question", 3), ("before", 3), ("after", 5)):
        table.add_column(name, ratio=ratio, overflow="fold")
    outputs = {method: {record.id: record.output for record in records} for method, records in after.items()}
    shared = [record for record in before if all(record.id in by_id for by_id in outputs.values())]
    for record in evenly_spaced(shared, count):
        cell = Table.grid(padding=(0, 1))
        cell.add_column(no_wrap=True)
        cell.add_column(overflow="fold")
        for method, by_id in outputs.items():
            cell.add_row(Text(method.upper(), style="bold"), output_text(by_id[record.id], _MAX_LENGTH))
        table.add_row(output_text(record.question, _MAX_LENGTH), output_text(record.output, _MAX_LENGTH), cell)
    console.print(table)
