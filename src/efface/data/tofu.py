"""The TOFU benchmark (arXiv:2401.06121), in the ten-task files of arXiv:2410.08109. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from efface.data.checks import checked
from efface.data.config import Split
from efface.data.jsonl import Row, read_jsonl
from efface.data.refusals import load_refusals
from efface.schema import EvaluationSet, Item, Task

_RETAIN_FILE: dict[Split, str] = {"forget01": "retain90", "forget05": "retain50", "forget10": "retain10"}
"""Holds what no task of the split ever forgets."""

_FORGET_EVALUATION = 300
"""The published evaluation scores up to 300 questions of each set: forget10 has 400."""


def load_tofu(folder: Path, split: Split, task: int, retain_evaluation: int) -> Task:
    """Return task `task` of a split: its own rows to forget, every other row of the benchmark to keep.

    `folder` holds the benchmark's JSON-lines files. Raises `EffaceError` where one is missing or damaged.
    """
    sources: dict[str, str] = {}
    forget_rows = _read(folder, split, sources)
    never_forgotten = _numbered(_read(folder, _RETAIN_FILE[split], sources), _RETAIN_FILE[split])
    perturbed = _of_task(_read(folder, f"{split}_perturbed", sources), split, task)
    retain_perturbed = _numbered(_read(folder, "retain_perturbed", sources), "retain_perturbed")
    others = [item for other in _tasks(forget_rows) - {task} for item in _of_task(forget_rows, split, other)]
    evaluation = (
        _set("forget", perturbed[:_FORGET_EVALUATION]),
        _set("retain", retain_perturbed[:retain_evaluation]),
        *(
            _set(name, _numbered(_read(folder, f"{name}_perturbed", sources), name))
            for name in ("real_authors", "world_facts")
        ),
    )
    return checked(
        Task(
            name=f"tofu-{split}-task{task}",
            forget=_of_task(forget_rows, split, task),
            retain=(*never_forgotten, *others),
            evaluation=evaluation,
            refusals=load_refusals(),
            sources=sources,
        )
    )
