"""The scores epoch by epoch as a table in the terminal. No torch."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from efface.artifacts import Partial, Scores, Trajectory
from efface.report.rich_tables import plain_table, print_line, shown_number


def print_trajectory(console: Console, method: str, trajectory: Trajectory) -> None:
    """Utility and efficacy at the end of each epoch, which was best, and whose model the run left."""
    table = plain_table(f"Epoch by epoch ({method.upper()})")
    for heading in ("Epoch", "Step", "Model utility", "Forget efficacy"):
        table.add_column(heading, justify="right")
    table.add_column("")
    partial = any(_aggregates(each.scores) is not each.scores for each in trajectory.epochs)
    for each in trajectory.epochs:
        found = each.scores.partial if partial else each.scores
        marks = [mark for mark, epoch in (("best", trajectory.best), ("kept", trajectory.kept)) if epoch == each.epoch]
        numbers = (shown_number(found.model_utility), shown_number(found.forget_efficacy))
        table.add_row(str(each.epoch), str(each.step), *numbers, Text(", ".join(marks)))
    console.print(table)
    rule = "best: the highest harmonic mean of the two; kept: whose model the run left."
    print_line(
        console, f"Partial, over the metrics that all sets have; {rule}" if partial else rule.capitalize(), style="dim"
    )


def _aggregates(scores: Scores) -> Scores | Partial:
    whole = scores.model_utility is not None and scores.forget_efficacy is not None
    return scores if whole else scores.partial
