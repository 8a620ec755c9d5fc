"""Questions and answers to forget and to keep: TOFU, real people, a user's files, generated authors. No torch."""

from __future__ import annotations

import os
from pathlib import Path

from efface.data.config import DataConfig, ExcludedForgetSet, parse_data
from efface.data.extra_retain import add_extra_retain
from efface.data.sources.download import default_data_folder, download_status, find_benchmark
from efface.data.sources.real_world import load_real_world, load_real_world_training_set
from efface.data.sources.synthetic_authors import load_synthetic_authors, make_authors
from efface.data.sources.tofu import load_tofu, load_tofu_training_set
from efface.data.sources.user_files import load_files, load_files_training_set
from efface.data.subsets import exclude_items
from efface.errors import EffaceError
from efface.schema import Item, Task

__all__ = ["DataConfig", "load_task", "load_training_set", "parse_data"]


def load_task(config: DataConfig, *, data_dir: Path | None) -> Task:
    """Return what the settings ask to forget, to keep and to score.

    `data_dir` holds the benchmarks as `tofu/` and `real_world/`; None reads the environment variable EFFACE_DATA,
    and without it takes what `efface data fetch` fetched.
    Generated authors and a user's files need neither. Raises `EffaceError` for data that cannot be used.
    """
    return add_extra_retain(_task(config, data_dir), config)


def load_training_set(
    config: DataConfig, *, data_dir: Path | None, without: ExcludedForgetSet | None = None
) -> tuple[Item, ...]:
    """Return what a target model is fine-tuned on: everything the data holds, to forget or to keep.

    `without`: leave out the data's forget set and what was forgotten before it, or the first task of that split of
    TOFU. Same `data_dir` and errors as `load_task`.
    """
    items = _training_set(config, data_dir)
    match without:
        case None:
            return items
        case "forget":
            left = _task(config, data_dir).retain
        case _:
            left = exclude_items(items, _task(DataConfig(source="tofu", split=without), data_dir).forget)
    if not left or len(left) == len(items):
        problem = "nothing of it" if left else "nothing but that"
        raise EffaceError(f"without={without}: the data holds {problem}; leave it out or choose other data")
    return left


def _task(config: DataConfig, data_dir: Path | None) -> Task:
    tasks = [each for each in config.forgotten_before if isinstance(each, int)]
    match config:
        case DataConfig(source="tofu", split=split) if split:
            folder = _folder(data_dir, "tofu")
            task = load_tofu(folder, split, config.task, config.retain_evaluation, after=tasks)
            return task.model_copy(update={"retain": task.retain[: config.retain_items]})
        case DataConfig(source="real-world"):
            return load_real_world(_folder(data_dir, "real-world"))
        case DataConfig(source="files"):
            return load_files(config)
        case _:  # synthetic authors: the config has refused everything else
            return load_synthetic_authors(
                config.authors,
                config.forget_authors,
                config.author_seed,
                config.retain_evaluation,
                task=config.task,
                after=tasks,
            )


def _training_set(config: DataConfig, data_dir: Path | None) -> tuple[Item, ...]:
    match config:
        case DataConfig(source="tofu", retain_items=int()):
            task = _task(config, data_dir)
            return (*task.forget, *task.retain)
        case DataConfig(source="tofu", split=split) if split:
            return load_tofu_training_set(_folder(data_dir, "tofu"), split)
        case DataConfig(source="real-world"):
            return load_real_world_training_set(_folder(data_dir, "real-world"))
        case DataConfig(source="files"):
            return load_files_training_set(config)
        case _:
            return make_authors(config.authors, config.author_seed)


def _folder(data_dir: Path | None, name: str) -> Path:
    """Return where a benchmark's local copy lies: in the folder that the user named, else where it was fetched to."""
    benchmark = find_benchmark(name)
    if root := data_dir or os.environ.get("EFFACE_DATA"):
        return Path(root) / benchmark.folder
    found = download_status(benchmark, default_data_folder())
    if found == "complete":
        return default_data_folder() / benchmark.folder
    problem = "was not fetched yet" if found == "absent" else "was fetched only in part"
    raise EffaceError(
        f"{name} {problem}: run `efface data fetch {name}`, or name a folder that holds {benchmark.folder}/ with "
        "--data-dir or the environment variable EFFACE_DATA"
    )
