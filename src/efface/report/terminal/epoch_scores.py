"""The scores after each epoch as a table in the terminal. No torch."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from efface.artifacts import Partial, Scores, Trajectory
from efface.report.number_format import format_number
from efface.report.terminal.rich_tables import empty_table, print_line


def print_trajectory(console: Console, method: str, trajectory: Trajectory) -> None:
    """Print model utility and forget efficacy of each epoch, and which epochs are the best and the saved one.

    Where an aggregate is missing in one epoch, all epochs show the partial aggregates, so that they can be compared.

    Args:
        console: Where to print.
        method: The unlearning method, for the title.
        trajectory: The scores of each epoch.
    """
    table = empty_table(f"Scores by epoch ({method.upper()})")
    for heading in ("Epoch", "Step", "Model utility", "Forget efficacy"):
        table.add_column(heading, justify="right")
    table.add_column("")
    partial = any(_aggregates(each.scores) is not each.scores for each in trajectory.epochs)
    for each in trajectory.epochs:
        scores = each.scores.partial if partial else each.scores
        marks = [mark for mark, epoch in (("best", trajectory.best), ("saved", trajectory.kept)) if epoch == each.epoch]
        numbers = (format_number(scores.model_utility), format_number(scores.forget_efficacy))
        table.add_row(str(each.epoch), str(each.step), *numbers, Text(", ".join(marks)))
    console.print(table)
    legend = "best: highest harmonic mean of the two; saved: the model of the run."
    print_line(
        console,
        f"Partial, over the metrics that all sets have; {legend}" if partial else legend.capitalize(),
        style="dim",
    )


def _aggregates(scores: Scores) -> Scores | Partial:
    """The scores themselves where both aggregates are available, else the partial ones."""
    complete = scores.model_utility is not None and scores.forget_efficacy is not None
    return scores if complete else scores.partial
