"""Scores on downstream tasks as a table in the terminal. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.artifacts import Downstream, TaskScore
from efface.report.text import one_line


def print_downstream(console: Console, models: Mapping[str, Downstream]) -> None:
    """One line for each task, one column for each model; `models`: heading -> its scores on the same tasks."""
    first = next(iter(models.values()))
    table = Table(
        title="Downstream tasks",
        title_justify="left",
        title_style="bold",
        header_style="",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("", overflow="fold")
    table.add_column("metric", overflow="fold")
    table.add_column("questions", justify="right")
    table.add_column("examples", justify="right")
    for heading in models:
        table.add_column(Text(one_line(heading)), justify="right")
    for name, task in first.tasks.items():
        examples = "-" if task.num_fewshot is None else str(task.num_fewshot)
        scores = [_score(scores.tasks[name]) for scores in models.values()]
        table.add_row(Text(one_line(name)), Text(one_line(task.metric)), str(task.n), examples, *scores)
    table.add_section()
    table.add_row(Text("average", style="bold"), "", "", "", *(f"{scores.average:.3f}" for scores in models.values()))
    console.print(table)
    console.print(Text(f"± is one standard error; by lm-evaluation-harness {one_line(first.lm_eval)}.", style="dim"))


def _score(task: TaskScore) -> str:
    return f"{task.value:.3f}" if task.standard_error is None else f"{task.value:.3f} ± {task.standard_error:.3f}"
