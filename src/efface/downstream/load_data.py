"""Load tasks with their data sets: from this machine if they are here, and else from the hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from efface.errors import EffaceError, summarize_error
from efface.hub import why_unreachable


def load_task(manager: Any, name: str) -> dict[str, Any]:
    """What the library's `TaskManager` makes of a task or group: its `tasks` by name, with their data, and `groups`.

    What lies in the cache of `datasets` is used as it is, without the network. Raises `EffaceError` for data that
    cannot be had, within seconds where the hub does not answer, and for a task file that is wrong.
    """
    try:
        with _offline():
            return _loaded(manager, name)
    except Exception as error:  # the library, its tasks, datasets and the hub's client each raise their own
        lacking, unanswered = error, why_unreachable()
    if unanswered is None:
        try:
            return _loaded(manager, name)
        except Exception as error:
            lacking = error
    if isinstance(lacking, ConnectionError):
        raise EffaceError(
            f"task {name}: its data set is not on this machine ({unanswered or summarize_error(lacking)}); go to where the "
            "hub can be reached, or copy the cache of `datasets` from there and set HF_DATASETS_OFFLINE=1, or name "
            "tasks with data of your own, in downstream.include=FOLDER"
        ) from lacking
    raise EffaceError(
        f"task {name} does not load ({summarize_error(lacking)}); look at its file and its data"
    ) from lacking


def _loaded(manager: Any, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = manager.load([name])
    return loaded


@contextmanager
def _offline() -> Iterator[None]:
    """No request leaves: without the hub, `datasets` retries for half a minute before it looks into its cache."""
    from datasets import config
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, config.HF_HUB_OFFLINE = before
