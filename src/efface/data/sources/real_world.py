"""Real people that a chat model knows, from arXiv:2410.08109: 20 to forget, 20 to keep, 20 others. No torch."""

from __future__ import annotations

from pathlib import Path

from efface.data.sources.benchmark_files import BenchmarkFolder
from efface.data.sources.refusals import load_refusals
from efface.data.task_checks import check_task_items
from efface.schema import EvaluationSet, Item, Task


def load_real_world(folder: Path) -> Task:
    """Return the benchmark's one task; its neighbor set asks about people other than those kept in training.

    `folder` holds the benchmark's JSON-lines files. Raises `EffaceError` where one is missing or damaged.
    """
    benchmark = BenchmarkFolder(folder)
    return check_task_items(
        Task(
            name="real-world",
            forget=benchmark.items("forget"),
            retain=benchmark.items("neighbor"),
            evaluation=tuple(
                EvaluationSet(name=name, items=benchmark.items(f"{name}_perturbed"), entailment_premise="output")
                for name in ("forget", "neighbor")
            ),
            refusals=load_refusals(),
            sources=benchmark.sources,
        )
    )


def load_real_world_training_set(folder: Path) -> tuple[Item, ...]:
    """Return what the task forgets and keeps (800 questions)."""
    benchmark = BenchmarkFolder(folder)
    return (*benchmark.items("forget"), *benchmark.items("neighbor"))
