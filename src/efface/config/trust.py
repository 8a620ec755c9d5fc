"""Plug-ins and task files that the config.yaml of a run names: a run may be a stranger's, so they need permission."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from efface.errors import EffaceError
from efface.files.folders import is_run_folder

_allows_saved_code: ContextVar[bool] = ContextVar("allows_saved_code", default=False)


@contextmanager
def allow_saved_code(allowed: bool) -> Iterator[None]:
    """Allow or refuse, inside this block, code that is named only by the config.yaml of a run."""
    token = _allows_saved_code.set(allowed)
    try:
        yield
    finally:
        _allows_saved_code.reset(token)


def check_saved_code(saved: Mapping[str, Any], given: Mapping[str, Any], path: Path) -> None:
    """Refuse code that is named by a run's config.yaml and not by the user, before it is imported.

    Args:
        saved: The settings in a config file.
        given: The settings that the user gave, which replace those of the file.
        path: The config file.

    Raises:
        EffaceError: The file is in the folder of a run and names plug-ins or task files, and neither
            `allow_saved_code` nor a setting of the user permits them.
    """
    if _allows_saved_code.get() or not is_run_folder(path.parent):
        return
    own = named_code(given)
    for setting, value in named_code(saved).items():
        if value and not own[setting]:
            raise EffaceError(
                f"{path} has {setting}={value}, which is code that would run with your rights; if you trust it, add "
                f"--allow-plugins or give {setting} yourself"
            )


def named_code(settings: Mapping[str, Any]) -> dict[str, str]:
    """The settings that name Python code.

    Args:
        settings: Nested settings of a config file.

    Returns:
        Dotted setting -> its value as text, empty where it is not set. Task files of lm-evaluation-harness, in
        `downstream.include`, may name Python functions.
    """
    plugins, downstream = settings.get("plugins") or (), settings.get("downstream")
    include = downstream.get("include") if isinstance(downstream, Mapping) else None
    return {
        "plugins": ",".join(map(str, plugins if isinstance(plugins, list | tuple) else [plugins])),
        "downstream.include": str(include or ""),
    }
