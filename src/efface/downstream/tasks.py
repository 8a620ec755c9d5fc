"""Find tasks of lm-evaluation-harness by name, and refuse those that cannot be scored. Loads no data set."""

from __future__ import annotations

import difflib
import functools
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from efface.downstream.config import DownstreamConfig
from efface.downstream.isolation import quiet
from efface.errors import EffaceError, install_hint, suggest
from efface.files.safe_read import expand_home


@dataclass(frozen=True)
class ResolvedTasks:
    """Tasks that exist, and the metrics to report."""

    manager: Any
    """The library's `TaskManager`."""
    metrics: dict[str, str | None]
    """Task -> its metric, with or without the filter; None for the first in its results."""


def check_tasks(config: DownstreamConfig) -> None:
    """Check that the library is installed and the tasks exist and have the metrics; takes seconds, needs no network.

    Args:
        config: Tasks and settings.

    Raises:
        EffaceError: When something is missing.
    """
    find_tasks(config)


def task_files(config: DownstreamConfig | None) -> dict[str, str]:
    """Hash custom task files and the code in their folder.

    Args:
        config: Settings; `include` is the folder.

    Returns:
        Path relative to the folder -> SHA-256; empty without a folder.
    """
    if config is None or config.include is None:
        return {}
    folder = expand_home(config.include)
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".yaml", ".py") and path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def find_tasks(config: DownstreamConfig) -> ResolvedTasks:
    """Find the tasks of a config.

    Args:
        config: Tasks and settings.

    Returns:
        The library's task manager, and the metric of each task.

    Raises:
        EffaceError: When the library is not installed, or a task or metric does not exist.
    """
    if find_spec("lm_eval") is None:
        raise EffaceError(f"downstream tasks need lm-evaluation-harness; {install_hint('downstream')}")
    with quiet():
        manager = _manager(config)
        for name in config.tasks:
            for unknown, group in _unknown_tasks(manager.task_index, name):
                raise EffaceError(_no_such_task(manager, unknown, group))
        return ResolvedTasks(manager, {name: _metric(manager, name, config.metric(name)) for name in config.tasks})


def _manager(config: DownstreamConfig) -> Any:
    """A manager of all tasks of `config`.

    The library reads ten thousand files to find its own tasks; this is skipped if all are in the folder `include`.
    """
    from lm_eval.tasks import TaskManager

    if config.include is None:
        return _built_in()
    folder = _check_folder(expand_home(config.include))
    custom = TaskManager(include_path=str(folder), include_defaults=False)
    if not custom.all_tasks:
        raise EffaceError(f"downstream.include={folder} holds no task; give a folder with task files (*.yaml)")
    if all(not any(_unknown_tasks(custom.task_index, name)) for name in config.tasks):
        return custom
    return _with_custom(str(folder), tuple(task_files(config).items()))


@functools.cache
def _built_in() -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager()


@functools.cache
def _with_custom(folder: str, _files: tuple[tuple[str, str], ...]) -> Any:
    """The library's tasks and those of a folder, read again after its files changed."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=folder)


def _check_folder(folder: Path) -> Path:
    """Check that all task files of a folder are YAML: the library skips those that are not."""
    if not folder.is_dir():
        raise EffaceError(f"downstream.include={folder}: there is no such folder; give one with task files (*.yaml)")
    for path in sorted(folder.rglob("*.yaml")):
        try:
            yaml.compose(path.read_text(encoding="utf-8"))  # tags such as !function need not be resolved
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f", line {mark.line + 1}" if mark is not None else ""
            problem = getattr(error, "problem", None) or error
            raise EffaceError(f"{path}{where}: not a task file ({problem}); write it as YAML in UTF-8") from error
    return folder


def _unknown_tasks(index: Mapping[str, Any], name: str, group: str | None = None) -> Iterator[tuple[str, str | None]]:
    """A task, or the tasks of a group, that do not exist, each with the group that names it."""
    if name not in index:
        yield name, group
        return
    members = (index[name].cfg or {}).get("task")
    for member in members if isinstance(members, list) else ():
        if isinstance(member, str):  # others are defined in the group's file
            yield from _unknown_tasks(index, member, name)


def _no_such_task(manager: Any, name: str, group: str | None) -> str:
    close = difflib.get_close_matches(name, manager.all_tasks, n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    where = f"group {group} names the task {name!r}, which does not exist" if group else f"there is no task {name!r}"
    return (
        f"{where}; {hint}`lm-eval ls tasks` lists {len(manager.all_tasks)}, downstream.include=FOLDER adds custom ones"
    )


def _metric(manager: Any, name: str, setting: str | None) -> str | None:
    """The metric to report, checked as far as the task file defines its metrics."""
    if name in manager.all_tags:
        members = sorted(manager.task_index[name].tags)
        raise EffaceError(f"{name} is not a task but a tag of several; name them: {', '.join(members)}")
    settings = manager.task_index[name].cfg or {}
    if name in manager.all_groups:
        metrics = [each["metric"] for each in _list_of(settings.get("aggregate_metric_list"))]
        if not metrics:
            raise EffaceError(f"{name} is a group without an aggregate score; name its tasks")
        filters: list[str] = []
    elif _has_metrics_from_code(settings):
        return setting
    else:
        metrics = [each["metric"] for each in _list_of(settings.get("metric_list"))] or _default_metric(settings)
        filters = [each["name"] for each in _list_of(settings.get("filter_list"))] or ["none"]
    if setting is None:
        return metrics[0]
    metric, comma, filter_ = setting.partition(",")
    if metric not in metrics:
        raise EffaceError(f"task {name} has no metric {metric!r}; {suggest(metric, metrics)}")
    if comma and filters and filter_ not in filters:
        raise EffaceError(f"task {name} has no filter {filter_!r}; {suggest(filter_, filters)}")
    return setting


def _has_metrics_from_code(settings: Mapping[str, Any]) -> bool:
    """Whether the names of a task's metrics are known only after scoring."""
    if "class" in settings or settings.get("process_results") is not None:
        return True
    return any("/" in str(each.get("metric")) for each in _list_of(settings.get("metric_list")))


def _default_metric(settings: Mapping[str, Any]) -> list[str]:
    """The metrics that the library computes for a task that lists none."""
    from lm_eval.api.registry import DEFAULT_METRIC_REGISTRY

    return list(DEFAULT_METRIC_REGISTRY[settings.get("output_type", "generate_until")])


def _list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
