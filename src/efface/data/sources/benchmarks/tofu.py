"""TOFU (arXiv:2401.06121) in the files of arXiv:2410.08109, whose splits consist of tasks of equal size. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from efface.data.config import Split
from efface.data.items import to_item
from efface.data.sources.benchmarks.benchmark_folder import BenchmarkFolder
from efface.data.sources.refusals import load_refusals
from efface.data.subsets import forgotten_before_sets
from efface.data.task_checks import check_task_items
from efface.errors import EffaceError
from efface.schema import EvaluationSet, Item, Task

_NEVER_FORGOTTEN: dict[Split, str] = {"forget01": "retain90", "forget05": "retain50", "forget10": "retain10"}
"""The file of the items that no task of the split forgets."""


def load_tofu(
    folder: Path,
    split: Split,
    task: int,
    retain_evaluation: int,
    *,
    forget_evaluation: int = 300,
    forgotten_before: Sequence[int] = (),
) -> Task:
    """Load one task; its retain set consists of all other items of the benchmark.

    Args:
        folder: Folder of the benchmark's JSON-lines files.
        split: The split.
        task: Number of the task, counted from 1.
        retain_evaluation: Maximum number of retain items that are scored.
        forget_evaluation: The same of each forget set; the published evaluation scores 300 of the 400 of forget10.
        forgotten_before: Tasks of earlier requests, which are removed from the retain set.

    Returns:
        The task.

    Raises:
        EffaceError: If a file is missing or damaged, or has no rows of a task.
    """
    benchmark = BenchmarkFolder(folder)
    tasks = _items_by_task(benchmark, split, split)
    perturbed = _items_by_task(benchmark, f"{split}_perturbed", split)
    requests = (*forgotten_before, task)
    for number in (task, *forgotten_before):
        if number not in tasks or number not in perturbed:
            raise EffaceError(f"{folder}: {split}.json and {split}_perturbed.json must both have rows of task {number}")
    not_yet_forgotten = [item for number, items in tasks.items() if number not in requests for item in items]
    return check_task_items(
        Task(
            name=f"tofu-{split}-task{task}",
            forget=tuple(tasks[task]),
            retain=(*benchmark.items(_NEVER_FORGOTTEN[split]), *not_yet_forgotten),
            evaluation=(
                _evaluation_set("forget", perturbed[task][:forget_evaluation]),
                *forgotten_before_sets([perturbed[number][:forget_evaluation] for number in forgotten_before]),
                _evaluation_set("retain", benchmark.items("retain_perturbed")[:retain_evaluation]),
                _evaluation_set("real_authors", benchmark.items("real_authors_perturbed")),
                _evaluation_set("world_facts", benchmark.items("world_facts_perturbed")),
            ),
            refusals=load_refusals(),
            sources=benchmark.sources,
        )
    )


def load_tofu_training_set(folder: Path, split: Split) -> tuple[Item, ...]:
    """Load all questions of the benchmark (4,000).

    Args:
        folder: Folder of the benchmark's JSON-lines files.
        split: The split, which determines files and ids.

    Returns:
        The items that no task forgets, then those of each task.

    Raises:
        EffaceError: If a file is missing or damaged.
    """
    benchmark = BenchmarkFolder(folder)
    tasks = _items_by_task(benchmark, split, split)
    return (*benchmark.items(_NEVER_FORGOTTEN[split]), *(item for items in tasks.values() for item in items))


def _items_by_task(benchmark: BenchmarkFolder, file: str, split: Split) -> dict[int, list[Item]]:
    """Group a file's rows by task. A row and its perturbed version have the same position and share their id."""
    tasks: dict[int, list[Item]] = defaultdict(list)
    for row in benchmark.rows(file):
        items = tasks[task := row.integer("task_id")]
        items.append(to_item(row, f"{split}/{task}/{len(items) + 1:04d}"))
    return dict(tasks)


def _evaluation_set(name: str, items: Sequence[Item]) -> EvaluationSet:
    """As in the published code, the output must entail a forget answer, and follow from any other answer."""
    return EvaluationSet(name=name, items=tuple(items), entailment_premise="output" if name == "forget" else "answer")
