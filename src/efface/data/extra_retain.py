"""Unrelated instructions beside what is kept, for a retain set that has become small. No torch."""

from __future__ import annotations

from efface.data.config import DataConfig
from efface.data.sources.user_files import LoadedFile
from efface.data.task_checks import find_conflicts
from efface.schema import Task
from efface.spacing import evenly_spaced


def add_extra_retain(task: Task, config: DataConfig) -> Task:
    """The task with items of the file `config.extra_retain` behind what it keeps; as it is where there is no such file.

    They are trained on and not scored. Raises `EffaceError` where the file cannot be used or holds what is forgotten.
    """
    if config.extra_retain is None:
        return task
    file = LoadedFile(config.extra_retain, "extra_retain", config.passage_length)
    items = evenly_spaced(file.items, config.extra_retain_items)
    warnings = (*file.warnings, *find_conflicts(task.model_copy(update={"retain": items})))
    return task.model_copy(
        update={
            "retain": (*task.retain, *items),
            "sources": {**task.sources, file.name: file.sha256},
            "warnings": (*task.warnings, *warnings),
        }
    )
