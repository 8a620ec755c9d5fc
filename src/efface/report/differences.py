"""Which questions two models answer differently, in the terminal or as a table. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.report.export import Cell, Format, flat_table
from efface.report.rich_tables import plain_table, print_line
from efface.report.sanitize import one_line
from efface.scores.leaderboard.differences import Difference
from efface.scores.leaderboard.leaderboard import Differences

_SHOWN = 20
_LONGEST = 160


def print_differences(console: Console, found: Differences) -> None:
    """How much each model knows of each set, and the questions that changed most."""
    table = plain_table(f"What is known, by set ({found.definition})")
    table.add_column("")
    for name in (found.first, found.second):
        table.add_column(Text(one_line(name)), justify="right", overflow="fold")
    for name in dict.fromkeys(each.set for each in found.questions):
        members = [each for each in found.questions if each.set == name]
        means = (fmean(each.first.knows for each in members), fmean(each.second.knows for each in members))
        table.add_row(Text(f"{name} ({len(members)})", style="bold"), *(f"{mean:.3f}" for mean in means))
    console.print(table)
    changed = [each for each in found.questions if each.change]
    table = plain_table("Questions that changed most", show_lines=True)
    for name, ratio in (("question", 3), (found.first, 3), (found.second, 3)):
        table.add_column(Text(one_line(name)), ratio=ratio, overflow="fold")
    table.add_column("Change", justify="right")
    for each in changed[:_SHOWN]:
        table.add_row(_question(each), _said(each.first.output), _said(each.second.output), f"{each.change:+.3f}")
    console.print(table)
    print_line(
        console,
        f"{len(changed)} of {len(found.questions)} questions changed, {min(len(changed), _SHOWN)} are shown. Known: "
        "mean of the question's metrics, from 0 to 1. Where it should be forgotten, + leaks; elsewhere, - was lost.",
        style="dim",
    )


def flat_differences(form: Format, found: Differences) -> str:
    """The same as one table, in CSV with all questions."""
    headings = ["Set", "Id", "Question", "Answer", f"Output: {found.first}", f"Output: {found.second}"]
    headings += [f"Known: {found.first}", f"Known: {found.second}", "Change"]
    rows: list[Sequence[Cell]] = [
        [
            *(each.set, each.id, each.question, each.answer, each.first.output, each.second.output),
            *(each.first.knows, each.second.knows, each.change),
        ]
        for each in found.questions
    ]
    return flat_table(form, headings, rows if form == "csv" else rows[:_SHOWN])


def _question(each: Difference) -> Table:
    """What was asked and what is right: data, so never markup."""
    cell = Table.grid()
    cell.add_column(overflow="fold")
    cell.add_row(Text(f"{each.set} {one_line(each.id)}", style="bold"))
    if each.question is not None:
        cell.add_row(Text(one_line(each.question, _LONGEST)))
    if each.answer is not None:
        cell.add_row(Text(one_line(each.answer, _LONGEST), style="dim"))
    return cell


def _said(output: str | None) -> Text:
    if output is None:
        return Text("-")
    line = one_line(output, _LONGEST)
    return Text(line) if line else Text("(nothing)", style="dim")
