"""TOFU (arXiv:2401.06121) in the files of arXiv:2410.08109: splits cut into tasks of equal size. No torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from efface.data.config import Split
from efface.data.items import to_item
from efface.data.sources.benchmark_files import BenchmarkFolder
from efface.data.sources.refusals import load_refusals
from efface.data.subsets import forgotten_before_sets
from efface.data.task_checks import check_task_items
from efface.errors import EffaceError
from efface.schema import EvaluationSet, Item, Task

_NEVER_FORGOTTEN: dict[Split, str] = {"forget01": "retain90", "forget05": "retain50", "forget10": "retain10"}
"""The file of what no task of the split forgets."""

_FORGET_EVALUATION = 300
"""The published evaluation scores up to 300 questions of each set; a task of forget10 has 400."""


def load_tofu(folder: Path, split: Split, task: int, retain_evaluation: int, *, after: Sequence[int] = ()) -> Task:
    """Return one task: its rows are forgotten, all other rows of the benchmark kept but those of the tasks `after`.

    `folder` holds the benchmark's JSON-lines files. Raises `EffaceError` where one is missing or damaged.
    """
    benchmark = BenchmarkFolder(folder)
    tasks = _by_task(benchmark, split, split)
    perturbed = _by_task(benchmark, f"{split}_perturbed", split)
    for each in (task, *after):
        if each not in tasks or each not in perturbed:
            raise EffaceError(f"{folder}: {split}.json and {split}_perturbed.json must both have rows of task {each}")
    not_yet_unlearned = [item for other, items in tasks.items() if other not in (task, *after) for item in items]
    return check_task_items(
        Task(
            name=f"tofu-{split}-task{task}",
            forget=tuple(tasks[task]),
            retain=(*benchmark.items(_NEVER_FORGOTTEN[split]), *not_yet_unlearned),
            evaluation=(
                _evaluation("forget", perturbed[task][:_FORGET_EVALUATION]),
                *forgotten_before_sets([perturbed[each][:_FORGET_EVALUATION] for each in after]),
                _evaluation("retain", benchmark.items("retain_perturbed")[:retain_evaluation]),
                _evaluation("real_authors", benchmark.items("real_authors_perturbed")),
                _evaluation("world_facts", benchmark.items("world_facts_perturbed")),
            ),
            refusals=load_refusals(),
            sources=benchmark.sources,
        )
    )


def load_tofu_training_set(folder: Path, split: Split) -> tuple[Item, ...]:
    """Return all questions of the benchmark (4,000), whichever task they belong to."""
    benchmark = BenchmarkFolder(folder)
    tasks = _by_task(benchmark, split, split)
    return (*benchmark.items(_NEVER_FORGOTTEN[split]), *(item for items in tasks.values() for item in items))


def _by_task(benchmark: BenchmarkFolder, file: str, split: Split) -> dict[int, list[Item]]:
    """Group a file's rows by task. A row and its perturbed version stand at the same place and share their id."""
    tasks: dict[int, list[Item]] = defaultdict(list)
    for row in benchmark.rows(file):
        items = tasks[task := row.integer("task_id")]
        items.append(to_item(row, f"{split}/{task}/{len(items) + 1:04d}"))
    return dict(tasks)


def _evaluation(name: str, items: list[Item] | tuple[Item, ...]) -> EvaluationSet:
    """The output must entail a forgotten answer, but follow from an answer that is kept, as in the published code."""
    return EvaluationSet(name=name, items=tuple(items), entailment_premise="output" if name == "forget" else "answer")
