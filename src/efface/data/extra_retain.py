"""Unrelated instructions beside what is kept, for a retain set that has become small. No torch."""

from __future__ import annotations

from efface.data.config import DataConfig
from efface.data.selection import evenly_spread
from efface.data.sources.user_files import LoadedFile
from efface.data.task_checks import conflicts
from efface.schema import Task


def padded(task: Task, config: DataConfig) -> Task:
    """The task with items of the file `config.padding` behind what it keeps; as it is where there is no such file.

    They are trained on and not scored. Raises `EffaceError` where the file cannot be used or holds what is forgotten.
    """
    if config.padding is None:
        return task
    file = LoadedFile(config.padding, "padding", config.passage_length)
    items = evenly_spread(file.items, config.padding_items)
    warnings = (*file.warnings, *conflicts(task.model_copy(update={"retain": items})))
    return task.model_copy(
        update={
            "retain": (*task.retain, *items),
            "sources": {**task.sources, file.name: file.sha256},
            "warnings": (*task.warnings, *warnings),
        }
    )
