"""What the functions of the library share: argument types, the run's folder, and warnings."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol

from efface import distributed
from efface.api.inputs import Inputs
from efface.data.config import DataConfig, FileConfig
from efface.errors import EffaceError
from efface.progress.reporter import Reporter, SilentReporter
from efface.run.folder import RunFolder

StrPath = str | os.PathLike[str]


class DataFrame(Protocol):
    """Rows as in pandas, which efface itself does not need."""

    def iterrows(self) -> Iterable[Any]:
        """Iterate over the rows."""
        ...


Rows = Iterable[Mapping[str, Any]] | DataFrame
File = StrPath | Mapping[str, Any] | FileConfig | Rows
"""A path or `hf:OWNER/NAME`; rows; or a mapping with either as `path` or `rows`, and `columns` and so on, as in
`data.forget` of a config."""
Data = str | Mapping[str, Any] | DataConfig
PluginSpec = StrPath | type[object]
"""A file or module, or a class that derives from one of efface's; `object` because mypy joins the classes of a list."""


class WarningsReporter(SilentReporter):
    """Reports warnings alone, as Python warnings that name rows as the caller does."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    def on_warning(self, text: str) -> None:
        """Warn at the line that called efface."""
        level, frame = 1, sys._getframe()
        while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("efface", "contextlib"):
            level, frame = level + 1, frame.f_back
        warnings.warn(self._inputs.in_caller_terms(text), UserWarning, stacklevel=level)


@contextmanager
def reporting(given: Reporter | None, inputs: Inputs, *, progress: bool) -> Iterator[Reporter]:
    """Yield what a run reports to.

    Args:
        given: The caller's own reporter, which gets everything.
        inputs: Names rows as the caller does.
        progress: Without `given`: whether to show stages and bars on standard error, as the command does.
    """
    from rich.console import Console

    from efface.progress.console import ConsoleReporter

    warn = WarningsReporter(inputs)
    if given is not None or not progress:
        yield given or warn
        return
    with ConsoleReporter(Console(stderr=True)) as shown:
        shown.on_warning = warn.on_warning  # type: ignore[method-assign]
        yield shown


@contextmanager
def folder_for(out: StrPath | None, *, resume: bool) -> Iterator[Path]:
    """Yield the run's folder; a temporary one is removed if the run fails, unless training diverged after a checkpoint.

    Args:
        out: The folder to write; None for a temporary one.
        resume: Whether a run in `out` is to be resumed.

    Raises:
        EffaceError: Several processes were started, or a run is to be resumed and `out` is None.
    """
    if distributed.launched_world_size() > 1:
        raise EffaceError("the library works in one process; use the command `efface run` with several")
    if out is not None:
        yield Path(out)
        return
    if resume:
        raise EffaceError("resume=True continues in a run's folder; give it as out=...")
    temporary = Path(mkdtemp(prefix="efface-"))
    try:
        yield temporary
    except BaseException as error:
        diverged = isinstance(error, EffaceError) and RunFolder(temporary).checkpoints.is_dir()
        if not diverged:
            shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_with(done: object, folder: Path) -> None:
    """Remove a temporary folder when the object that refers to it is garbage-collected.

    Args:
        done: The object, a result without a folder of the caller's own.
        folder: The temporary folder.
    """
    weakref.finalize(done, shutil.rmtree, folder, ignore_errors=True)


def path_of(path: StrPath | None) -> Path | None:
    """A path as a `Path`."""
    return None if path is None else Path(path)
