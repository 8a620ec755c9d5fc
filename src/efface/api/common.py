"""What the functions of the library have in common: what may be given, the folder, and warnings."""

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
from efface.progress.reporter import SilentReporter
from efface.run.folder import RunFolder

StrPath = str | os.PathLike[str]


class DataFrame(Protocol):
    """Rows as pandas keeps them; efface itself does not need pandas."""

    def iterrows(self) -> Iterable[Any]:
        """Each row."""
        ...


Rows = Iterable[Mapping[str, Any]] | DataFrame
File = StrPath | Mapping[str, Any] | FileConfig | Rows
"""A path or `hf:OWNER/NAME`; rows; or a mapping of either, as `path` or `rows`, with `columns` and so on beside it, as
under `data.forget` in a config."""
Data = str | Mapping[str, Any] | DataConfig
PluginSpec = StrPath | type[object]
"""A file or module, or a class that derives from one of efface's; so wide for mypy, which joins those of a list."""


class WarningsReporter(SilentReporter):
    """Tells nobody but of what deserves a warning, of rows as the caller names them."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs

    def on_warning(self, text: str) -> None:
        """Warn as Python libraries do: at the line that called efface."""
        level, frame = 1, sys._getframe()
        while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("efface", "contextlib"):
            level, frame = level + 1, frame.f_back
        warnings.warn(self._inputs.named(text), UserWarning, stacklevel=level)


@contextmanager
def folder_for(out: StrPath | None, *, resume: bool) -> Iterator[Path]:
    """The run's folder; a temporary one goes where the run fails, unless it got as far as a checkpoint."""
    if distributed.launched_world_size() > 1:
        raise EffaceError("the library works in one process; let several of them work on the command `efface run`")
    if out is not None:
        yield Path(out)
        return
    if resume:
        raise EffaceError("resume=True goes on in a run's folder; name it with out=...")
    temporary = Path(mkdtemp(prefix="efface-"))
    try:
        yield temporary
    except BaseException as error:
        diverged = isinstance(error, EffaceError) and RunFolder(temporary).checkpoints.is_dir()
        if not diverged:
            shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_with(done: object, folder: Path) -> None:
    """Let a temporary folder go with the object that stands for it."""
    weakref.finalize(done, shutil.rmtree, folder, ignore_errors=True)


def path_of(path: StrPath | None) -> Path | None:
    """A path as one."""
    return None if path is None else Path(path)
