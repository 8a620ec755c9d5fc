"""Find tasks of lm-evaluation-harness by name, and refuse what could not be scored. Loads no data set."""

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
from efface.errors import EffaceError, suggest


@dataclass(frozen=True)
class ResolvedTasks:
    """Tasks that are there."""

    manager: Any
    """The library's `TaskManager`."""
    metrics: dict[str, str | None]
    """Task -> its metric, with or without the filter; None for the first that scoring it gives."""


def check_tasks(config: DownstreamConfig) -> None:
    """Check that the library and the tasks are there and have the metrics; needs no network, but some seconds.

    Raises `EffaceError`.
    """
    find_tasks(config)


def task_files(config: DownstreamConfig | None) -> dict[str, str]:
    """SHA-256 of the user's own task files and the code beside them, by their place in the folder `include`."""
    if config is None or config.include is None:
        return {}
    folder = Path(config.include).expanduser()
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".yaml", ".py") and path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def find_tasks(config: DownstreamConfig) -> ResolvedTasks:
    """The tasks of `config`. Raises `EffaceError` as `check_tasks` does."""
    if find_spec("lm_eval") is None:
        raise EffaceError(
            "downstream tasks need lm-evaluation-harness; install it with: pip install 'efface[downstream]'"
        )
    with quiet():
        manager = _manager(config)
        for name in config.tasks:
            for unknown, group in _unknown(manager.task_index, name):
                raise EffaceError(_no_such_task(manager, unknown, group))
        return ResolvedTasks(manager, {name: _metric(manager, name, config.metric(name)) for name in config.tasks})


def _manager(config: DownstreamConfig) -> Any:
    """One that knows all tasks of `config`, if there is one.

    The library reads ten thousand files of its own to know its tasks: not where all are in the user's folder.
    """
    from lm_eval.tasks import TaskManager

    if config.include is None:
        return _built_in()
    folder = _readable(Path(config.include).expanduser())
    alone = TaskManager(include_path=str(folder), include_defaults=False)
    if not alone.all_tasks:
        raise EffaceError(f"downstream.include={folder} holds no task; give a folder with task files (*.yaml)")
    if all(not any(_unknown(alone.task_index, name)) for name in config.tasks):
        return alone
    return _both(str(folder), tuple(task_files(config).items()))


@functools.cache
def _built_in() -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager()


@functools.cache
def _both(folder: str, _files: tuple[tuple[str, str], ...]) -> Any:
    """The library's tasks and those of a folder, read again when its files have changed."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=folder)


def _readable(folder: Path) -> Path:
    """`folder`, whose task files are all YAML: the library passes over those that are not."""
    if not folder.is_dir():
        raise EffaceError(f"downstream.include={folder}: there is no such folder; give one with task files (*.yaml)")
    for path in sorted(folder.rglob("*.yaml")):
        try:
            yaml.compose(path.read_text(encoding="utf-8"))  # tags such as !function need not be known
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            mark = getattr(error, "problem_mark", None)
            where = f", line {mark.line + 1}" if mark is not None else ""
            problem = getattr(error, "problem", None) or error
            raise EffaceError(f"{path}{where}: no task file ({problem}); write it as YAML in UTF-8") from error
    return folder


def _unknown(index: Mapping[str, Any], name: str, group: str | None = None) -> Iterator[tuple[str, str | None]]:
    """Of a task and, in a group, of those that it names: each that is not there, and the group that names it."""
    if name not in index:
        yield name, group
        return
    members = (index[name].cfg or {}).get("task")
    for member in members if isinstance(members, list) else ():
        if isinstance(member, str):  # others are written out in the group's file
            yield from _unknown(index, member, name)


def _no_such_task(manager: Any, name: str, group: str | None) -> str:
    close = difflib.get_close_matches(name, manager.all_tasks, n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    where = f"group {group} names the task {name!r}, which is not there" if group else f"there is no task {name!r}"
    return f"{where}; {hint}`lm-eval ls tasks` lists {len(manager.all_tasks)}, downstream.include=FOLDER adds your own"


def _metric(manager: Any, name: str, asked: str | None) -> str | None:
    """The metric to read, checked as far as the task's file tells."""
    if name in manager.all_tags:
        members = sorted(manager.task_index[name].tags)
        raise EffaceError(f"{name} is no task but a tag on several; name them: {', '.join(members)}")
    settings = manager.task_index[name].cfg or {}
    if name in manager.all_groups:
        metrics = [each["metric"] for each in _list_of(settings.get("aggregate_metric_list"))]
        if not metrics:
            raise EffaceError(f"{name} is a group without a score of its own; name its tasks")
        filters: list[str] = []
    elif _made_by_code(settings):
        return asked
    else:
        metrics = [each["metric"] for each in _list_of(settings.get("metric_list"))] or _default_metric(settings)
        filters = [each["name"] for each in _list_of(settings.get("filter_list"))] or ["none"]
    if asked is None:
        return metrics[0]
    metric, comma, filter_ = asked.partition(",")
    if metric not in metrics:
        raise EffaceError(f"task {name} has no metric {metric!r}; {suggest(metric, metrics)}")
    if comma and filters and filter_ not in filters:
        raise EffaceError(f"task {name} has no filter {filter_!r}; {suggest(filter_, filters)}")
    return asked


def _made_by_code(settings: Mapping[str, Any]) -> bool:
    """Whether only scoring tells the names of a task's metrics."""
    if "class" in settings or settings.get("process_results") is not None:
        return True
    return any("/" in str(each.get("metric")) for each in _list_of(settings.get("metric_list")))


def _default_metric(settings: Mapping[str, Any]) -> list[str]:
    """What the library computes for a task that lists no metric."""
    from lm_eval.api.registry import DEFAULT_METRIC_REGISTRY

    return list(DEFAULT_METRIC_REGISTRY[settings.get("output_type", "generate_until")])


def _list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
