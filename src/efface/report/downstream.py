"""Scores on downstream tasks as a table in the terminal. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from efface.artifacts import Downstream, TaskScore
from efface.report.rich_tables import plain_table, print_line, shown_number
from efface.report.sanitize import one_line


def print_downstream(console: Console, models: Mapping[str, Downstream]) -> None:
    """One line for each task, one column for each model; `models`: heading -> its scores on the same tasks."""
    first = next(iter(models.values()))
    table = plain_table("Downstream tasks")
    table.add_column("", overflow="fold")
    table.add_column("metric", overflow="fold")
    table.add_column("ques-\ntions", justify="right")  # two models fit beside each other in 80 columns
    table.add_column("exam-\nples", justify="right")
    for heading in models:
        table.add_column(Text(one_line(heading)), justify="right")
    for name, task in first.tasks.items():
        examples = "-" if task.num_fewshot is None else str(task.num_fewshot)
        metric = one_line(task.metric).replace(",", ", ")
        scores = [_score(scores.tasks[name]) for scores in models.values()]
        table.add_row(Text(one_line(name)), Text(metric), str(task.n), examples, *scores)
    table.add_section()
    averages = (shown_number(scores.average) for scores in models.values())
    table.add_row(Text("average", style="bold"), "", "", "", *averages)
    console.print(table)
    print_line(console, f"± is one standard error; by lm-evaluation-harness {first.lm_eval}.", style="dim")


def tasks_of(scores: Downstream) -> str:
    """What the average is over, in words."""
    return f"{', '.join(scores.tasks)}, by lm-evaluation-harness {scores.lm_eval}"


def _score(task: TaskScore) -> str:
    value = shown_number(task.value)
    return value if task.standard_error is None else f"{value}±{task.standard_error:.3f}"
