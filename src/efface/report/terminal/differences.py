"""The questions that two models answer differently, as tables in the terminal. No torch."""

from __future__ import annotations

from statistics import fmean

from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.report.sanitize import one_line
from efface.report.terminal.rich_tables import empty_table, output_text, print_line
from efface.scores.leaderboard.differences import Difference
from efface.scores.leaderboard.leaderboard import Differences

MAX_QUESTIONS = 20
"""How many of the questions that changed are shown."""
_MAX_LENGTH = 160


def print_differences(console: Console, differences: Differences) -> None:
    """Print how much each model knows of each set, and the questions that changed most.

    Args:
        console: Where to print.
        differences: All questions, the largest change first.
    """
    names = (differences.first, differences.second)
    table = empty_table(f"Known, by set ({differences.definition})")
    table.add_column("")
    for name in names:
        table.add_column(Text(one_line(name)), justify="right", overflow="fold")
    for set_name in dict.fromkeys(each.set for each in differences.questions):
        members = [each for each in differences.questions if each.set == set_name]
        means = (fmean(each.first.knows for each in members), fmean(each.second.knows for each in members))
        table.add_row(Text(f"{set_name} ({len(members)})", style="bold"), *(f"{mean:.3f}" for mean in means))
    console.print(table)
    changed = [each for each in differences.questions if each.change]
    table = empty_table("Questions that changed most", show_lines=True)
    for name in ("question", *names):
        table.add_column(Text(one_line(name)), ratio=3, overflow="fold")
    table.add_column("Change", justify="right")
    for each in changed[:MAX_QUESTIONS]:
        outputs = (output_text(side.output, _MAX_LENGTH) for side in (each.first, each.second))
        table.add_row(_question_cell(each), *outputs, f"{each.change:+.3f}")
    console.print(table)
    print_line(
        console,
        f"{len(changed)} of {len(differences.questions)} questions changed, {min(len(changed), MAX_QUESTIONS)} are "
        "shown. Known: mean of the question's metrics, from 0 to 1. On the forget set, + is a leak; on the other sets, "
        "- is a loss.",
        style="dim",
    )


def _question_cell(each: Difference) -> Table:
    """The question and its reference answer, which are untrusted."""
    cell = Table.grid()
    cell.add_column(overflow="fold")
    cell.add_row(Text(f"{each.set} {one_line(each.id)}", style="bold"))
    if each.question is not None:
        cell.add_row(Text(one_line(each.question, _MAX_LENGTH)))
    if each.answer is not None:
        cell.add_row(Text(one_line(each.answer, _MAX_LENGTH), style="dim"))
    return cell
