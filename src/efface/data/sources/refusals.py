"""Answers such as "I don't know": a hundred written for efface, those of the published code, or a user's. No torch."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from importlib import resources
from pathlib import Path

from efface.data.config import PUBLISHED, DataConfig
from efface.data.readers.file_formats import decode_utf8, read_content
from efface.data.readers.limits import Limits
from efface.data.sources.benchmarks.published import PUBLISHED_REFUSALS, default_data_folder
from efface.errors import EffaceError
from efface.files.safe_read import expand_home
from efface.schema import Task


@cache
def load_refusals() -> tuple[str, ...]:
    """The 100 refusals of `refusals.txt`, always in the same order."""
    text = resources.files("efface.data.sources").joinpath("refusals.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def use_refusals(task: Task, config: DataConfig, data_dir: Path | None) -> Task:
    """Replace a task's refusals by those that the settings name.

    Args:
        task: A task.
        config: Settings of its data.
        data_dir: As in `load_task`; the published refusals are a file in it.

    Returns:
        The task with these refusals and the hash of their file; the same task if `config.refusals` is None.

    Raises:
        EffaceError: If the file is missing, is not text or has fewer than two lines.
    """
    if config.refusals is None:
        return task
    path = _published_path(data_dir) if config.refusals == PUBLISHED else expand_home(config.refusals)
    name = path.name if config.refusals == PUBLISHED else config.refusals
    content = read_content(path, Limits())
    lines = tuple(line.strip() for line in decode_utf8(path, content).splitlines() if line.strip())
    if len(lines) < 2:
        found = "is empty" if not lines else "has one line"
        raise EffaceError(
            f'data.refusals: {path} {found}; give at least two answers such as "I don\'t know.", one on each line'
        )
    sources = {**task.sources, name: hashlib.sha256(content).hexdigest()}
    return task.model_copy(update={"refusals": lines, "sources": sources})


def _published_path(data_dir: Path | None) -> Path:
    root = data_dir or os.environ.get("EFFACE_DATA")
    path = Path(root or default_data_folder()) / PUBLISHED_REFUSALS
    if not path.is_file():
        where = f"{path} does not exist" if root else "the published refusals were not fetched yet"
        raise EffaceError(
            f"data.refusals=published: {where}; run `efface data fetch tofu`, which downloads them too, or give "
            "data.refusals=FILE, or data.refusals=null for those of efface"
        )
    return path
