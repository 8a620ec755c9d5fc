"""Unrelated instructions that are added to a retain set that is too small. No torch."""

from __future__ import annotations

from efface.data.config import DataConfig
from efface.data.sources.user_files import load_file
from efface.data.task_checks import find_conflicts
from efface.schema import Task
from efface.spacing import evenly_spaced


def add_extra_retain(task: Task, config: DataConfig) -> Task:
    """Append the items of the file `config.extra_retain` to the retain set; they are not scored.

    Args:
        task: A task.
        config: Settings of its data.

    Returns:
        The task with these items; the same task if `config.extra_retain` is None.

    Raises:
        EffaceError: If the file cannot be used, or contains an item of the forget set.
    """
    if config.extra_retain is None:
        return task
    file = load_file(config.extra_retain, "extra_retain", config.passage_length)
    items = evenly_spaced(file.items, config.extra_retain_items)
    warnings = (*file.warnings, *find_conflicts(task.model_copy(update={"retain": items})))
    return task.model_copy(
        update={
            "retain": (*task.retain, *items),
            "sources": {**task.sources, file.name: file.sha256},
            "warnings": (*task.warnings, *warnings),
        }
    )
