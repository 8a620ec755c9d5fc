"""Scores on downstream tasks as a table in the terminal. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from efface.artifacts import Downstream, TaskScore
from efface.report.number_format import format_number
from efface.report.sanitize import one_line
from efface.report.terminal.rich_tables import empty_table, print_line


def print_downstream(console: Console, models: Mapping[str, Downstream]) -> None:
    """Print one row per task, one column per model, and the averages.

    Args:
        console: Where to print.
        models: Heading -> scores; all models have the same tasks.
    """
    first = next(iter(models.values()))
    table = empty_table("Downstream tasks")
    table.add_column("", overflow="fold")
    table.add_column("metric", overflow="fold")
    table.add_column("ques-\ntions", justify="right")  # two models fit next to each other in 80 columns
    table.add_column("few-\nshot", justify="right")
    for heading in models:
        table.add_column(Text(one_line(heading)), justify="right")
    for name, task in first.tasks.items():
        num_fewshot = "-" if task.num_fewshot is None else str(task.num_fewshot)
        metric = one_line(task.metric).replace(",", ", ")
        scores = [_format_score(scores.tasks[name]) for scores in models.values()]
        table.add_row(Text(one_line(name)), Text(metric), str(task.n), num_fewshot, *scores)
    table.add_section()
    averages = (format_number(scores.average) for scores in models.values())
    table.add_row(Text("average", style="bold"), "", "", "", *averages)
    console.print(table)
    print_line(console, f"± is one standard error; by lm-evaluation-harness {first.lm_eval}.", style="dim")


def describe_tasks(scores: Downstream) -> str:
    """Name the tasks that the average is over, and the version of lm-evaluation-harness."""
    return f"{', '.join(scores.tasks)}, by lm-evaluation-harness {scores.lm_eval}"


def _format_score(task: TaskScore) -> str:
    value = format_number(task.value)
    return value if task.standard_error is None else f"{value}±{task.standard_error:.3f}"
