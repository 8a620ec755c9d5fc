"""Load an unlearning task, or the data that a target model is fine-tuned on. No torch."""

from __future__ import annotations

import os
from pathlib import Path

from efface.data.config import DataConfig, ExcludedForgetSet
from efface.data.extra_retain import add_extra_retain
from efface.data.few_shot import add_few_shot
from efface.data.holdout import add_holdout
from efface.data.sources.benchmarks.hub_benchmarks import hub_benchmarks, hub_status
from efface.data.sources.benchmarks.muse import load_muse, load_muse_training_set, muse_requests
from efface.data.sources.benchmarks.published import (
    DownloadStatus,
    default_data_folder,
    download_status,
    find_benchmark,
)
from efface.data.sources.benchmarks.real_world import load_real_world, load_real_world_training_set
from efface.data.sources.benchmarks.tofu import load_tofu, load_tofu_training_set
from efface.data.sources.benchmarks.wmdp import load_wmdp
from efface.data.sources.refusals import use_refusals
from efface.data.sources.synthetic_authors import load_synthetic_authors, make_authors
from efface.data.sources.user_files import load_files, load_files_training_set
from efface.data.subsets import exclude_items
from efface.errors import EffaceError
from efface.schema import Item, Task


def load_task(config: DataConfig, *, data_dir: Path | None) -> Task:
    """Load the forget set, the retain set and the evaluation sets of a task.

    Args:
        config: Settings of the data.
        data_dir: Folder that contains the benchmarks as `tofu/`, `real_world/` and so on. None reads the environment
            variable EFFACE_DATA, and if that is not set, the folder of `efface data fetch`. Synthetic authors and a
            user's files do not need it.

    Returns:
        The task, with the items of `config.extra_retain` at the end of the retain set, and with the refusals of
        `config.refusals`.

    Raises:
        EffaceError: If the data is missing or cannot be used.
    """
    task = add_extra_retain(_load_task(config, data_dir), config)
    return use_refusals(add_few_shot(add_holdout(task, config, data_dir), config), config, data_dir)


def load_training_set(
    config: DataConfig, *, data_dir: Path | None, without: ExcludedForgetSet | None = None
) -> tuple[Item, ...]:
    """Load the items that a target model is fine-tuned on: forget set and retain set.

    Args:
        config: Settings of the data.
        data_dir: As in `load_task`.
        without: The forget set to leave out, for a retrained model: `forget` for the forget set of `config` and those
            of its earlier requests, or a TOFU split for the first task of that split. None leaves out nothing.

    Returns:
        The items, without those of `config.extra_retain`.

    Raises:
        EffaceError: As `load_task`, and if `without` leaves out nothing or everything.
    """
    items = _load_training_set(config, data_dir)
    match without:
        case None:
            return items
        case "forget" if config.source == "muse":
            forgotten = muse_requests(_hub_folder(data_dir, f"muse-{config.corpus}"), config)
            remaining = exclude_items(items, forgotten)
        case "forget":
            remaining = _load_task(config, data_dir).retain
        case _:
            excluded = _load_task(DataConfig(source="tofu", split=without), data_dir).forget
            remaining = exclude_items(items, excluded)
    if not remaining or len(remaining) == len(items):
        problem = "no item of it" if remaining else "no other item"
        raise EffaceError(f"without={without}: the data contains {problem}; remove this setting or choose other data")
    return remaining


def _load_task(config: DataConfig, data_dir: Path | None) -> Task:
    earlier_tasks = [request for request in config.forgotten_before if isinstance(request, int)]
    match config:
        case DataConfig(source="tofu", split=split) if split:
            folder = _benchmark_folder(data_dir, "tofu")
            task = load_tofu(
                folder,
                split,
                config.task,
                config.retain_evaluation,
                forget_evaluation=config.forget_evaluation,
                forgotten_before=earlier_tasks,
            )
            return task.model_copy(update={"retain": task.retain[: config.retain_items]})
        case DataConfig(source="muse"):
            return load_muse(_hub_folder(data_dir, f"muse-{config.corpus}"), config)
        case DataConfig(source="wmdp"):
            return load_wmdp(_hub_folder(data_dir, f"wmdp-{config.corpus}"), config)
        case DataConfig(source="real-world"):
            return load_real_world(_benchmark_folder(data_dir, "real-world"))
        case DataConfig(source="files"):
            return load_files(config)
        case _:  # synthetic authors
            return load_synthetic_authors(
                config.authors,
                config.forget_authors,
                config.author_seed,
                config.retain_evaluation,
                task=config.task,
                forgotten_before=earlier_tasks,
            )


def _load_training_set(config: DataConfig, data_dir: Path | None) -> tuple[Item, ...]:
    match config:
        case DataConfig(source="tofu", retain_items=int()) | DataConfig(source="wmdp"):
            task = _load_task(config, data_dir)
            return (*task.forget, *task.retain)
        case DataConfig(source="tofu", split=split) if split:
            return load_tofu_training_set(_benchmark_folder(data_dir, "tofu"), split)
        case DataConfig(source="muse"):
            return load_muse_training_set(_hub_folder(data_dir, f"muse-{config.corpus}"), config)
        case DataConfig(source="real-world"):
            return load_real_world_training_set(_benchmark_folder(data_dir, "real-world"))
        case DataConfig(source="files"):
            return load_files_training_set(config)
        case _:  # synthetic authors
            return make_authors(config.authors, config.author_seed)


def _benchmark_folder(data_dir: Path | None, name: str) -> Path:
    """The folder of a benchmark's files: below the folder that the user named, otherwise where it was downloaded."""
    benchmark = find_benchmark(name)
    status = download_status(benchmark, default_data_folder())
    return _found(data_dir, name, benchmark.folder, status)


def _hub_folder(data_dir: Path | None, name: str) -> Path:
    """The same for a benchmark of the hub."""
    benchmark = hub_benchmarks()[name]
    return _found(data_dir, name, benchmark.folder, hub_status(benchmark, default_data_folder()))


def _found(data_dir: Path | None, name: str, folder: str, status: DownloadStatus) -> Path:
    if root := data_dir or os.environ.get("EFFACE_DATA"):
        return Path(root) / folder
    if status == "complete":
        return default_data_folder() / folder
    problem = "was not fetched yet" if status == "absent" else "was fetched only in part"
    raise EffaceError(
        f"{name} {problem}: run `efface data fetch {name}`, or name a folder that contains {folder}/ with "
        "--data-dir or the environment variable EFFACE_DATA"
    )
