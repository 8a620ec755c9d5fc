"""Load tasks with their data sets: from the local cache if possible, else from the hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from efface.errors import EffaceError, summarize_error
from efface.hub import why_unreachable


def load_task(manager: Any, name: str) -> dict[str, Any]:
    """Load a task or group with its data sets.

    Data sets in the cache of `datasets` are used without the network.

    Args:
        manager: The library's `TaskManager`.
        name: The task or group.

    Returns:
        What `TaskManager.load` returns: `tasks` by name, with their data, and `groups`.

    Raises:
        EffaceError: When data are not available (within seconds if the hub does not answer), or a task file is wrong.
    """
    try:
        with _offline():
            return _load(manager, name)
    except Exception as error:  # the library, its tasks, datasets and the hub's client each raise errors of any type
        failure, unreachable = error, why_unreachable()
    if unreachable is None:
        try:
            return _load(manager, name)
        except Exception as error:
            failure = error
    if isinstance(failure, ConnectionError):
        raise EffaceError(
            f"task {name}: its data set is not on this machine ({unreachable or summarize_error(failure)}); use a "
            "machine that reaches the hub, or copy its cache of `datasets` and set HF_DATASETS_OFFLINE=1, or name "
            "tasks with local data, in downstream.include=FOLDER"
        ) from failure
    raise EffaceError(
        f"task {name} does not load ({summarize_error(failure)}); check its file and its data"
    ) from failure


def _load(manager: Any, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = manager.load([name])
    return loaded


@contextmanager
def _offline() -> Iterator[None]:
    """Make no requests: `datasets` retries for half a minute before it uses its cache if the hub does not answer."""
    from datasets import config
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE = before
