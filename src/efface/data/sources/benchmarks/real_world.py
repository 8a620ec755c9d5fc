"""Real people that a chat model knows (arXiv:2410.08109): 20 to forget, 20 to retain, 20 as neighbors. No torch."""

from __future__ import annotations

from pathlib import Path

from efface.data.sources.benchmarks.benchmark_folder import BenchmarkFolder
from efface.data.sources.refusals import load_refusals
from efface.data.task_checks import check_task_items
from efface.schema import EvaluationSet, Item, Task


def load_real_world(folder: Path) -> Task:
    """Load the task of the benchmark; the people of its neighbor set are not in the retain set.

    Args:
        folder: Folder of the benchmark's JSON-lines files.

    Returns:
        The task.

    Raises:
        EffaceError: If a file is missing or damaged.
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
    """Load forget and retain set (800 questions).

    Args:
        folder: Folder of the benchmark's JSON-lines files.

    Returns:
        The items of the forget set, then those of the retain set.

    Raises:
        EffaceError: If a file is missing or damaged.
    """
    benchmark = BenchmarkFolder(folder)
    return (*benchmark.items("forget"), *benchmark.items("neighbor"))
