"""Files and folders that appear complete or not at all. Of several processes, the main one writes; the others wait."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from efface import distributed
from efface.errors import EffaceError, first_line
from efface.files.permissions import make_folder, settle
from efface.main_process import on_main_process

Recorder = Callable[[Path, Path], AbstractContextManager[None]]
"""From the path of a file or folder, and the complete one that will replace it, to a context of the replacement."""
_recorders: dict[Path, Recorder] = {}


class WriteError(EffaceError):
    """A file or folder cannot be written: the disk is full, or the user may not."""


def record_in(root: Path, recorder: Recorder | None) -> None:
    """From now on, call a recorder around each moment in which a file or folder below `root` appears or is replaced.

    Args:
        root: A folder; within it, another one may have a recorder of its own.
        recorder: Called by the process that writes; None to stop.
    """
    if recorder is None:
        _recorders.pop(root.absolute(), None)
    else:
        _recorders[root.absolute()] = recorder


def recorded(path: Path, complete: Path) -> AbstractContextManager[None]:
    """The context in which `complete` is renamed to `path`.

    Args:
        path: Where the file or folder will be.
        complete: Its temporary path.

    Returns:
        The context of the recorder of the nearest folder above `path`; one that does nothing where there is none.
    """
    recorder = next((each for parent in path.absolute().parents if (each := _recorders.get(parent))), None)
    return nullcontext() if recorder is None else recorder(path, complete)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name, and rename it only when the block succeeds.

    Args:
        path: The file. Missing parent folders are created.

    Yields:
        The temporary path, in the same folder.

    Raises:
        WriteError: The disk is full or the folder cannot be written; no incomplete file stays.
    """
    partial = _partial(path)
    try:
        make_folder(path.parent)
        yield partial
        settle(partial)
        with recorded(path, partial):
            partial.replace(path)
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}; {_remedy(error, path)}") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, completely or not at all. Every process must call this.

    Args:
        path: The file.
        text: Its content.

    Raises:
        WriteError: It cannot be written.
    """

    def write() -> None:
        with atomic_file(path) as partial:
            partial.write_text(text, encoding="utf-8")

    on_main_process(write)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file, completely or not at all. Every process must call this.

    Args:
        path: The file.
        value: NaN is refused: a score that cannot be computed is null.

    Raises:
        WriteError: It cannot be written.
    """
    write_text(path, to_json(value))


def to_json(value: object) -> str:
    """The text of a JSON file."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


@contextmanager
def atomic_folder(folder: Path, *, by_all: bool = False) -> Iterator[Path]:
    """Write a folder under a temporary name; it replaces `folder` only when the block succeeds.

    Args:
        folder: May exist. Missing parent folders are created.
        by_all: Whether every process enters the block, to write to the same folder; otherwise one process does, inside
            `on_main_process`.

    Yields:
        The temporary path; the block creates the folder.

    Raises:
        WriteError: Writing fails; no incomplete folder stays.
    """
    partial = _partial(folder)
    is_owner = not by_all or distributed.is_main_process()
    try:
        if is_owner:
            shutil.rmtree(partial, ignore_errors=True)  # left by a kill
            make_folder(folder.parent)
        if by_all:
            distributed.barrier()
        yield partial
        if by_all:
            distributed.barrier()
        if is_owner:
            settle(partial)
            with recorded(folder, partial):
                if folder.is_dir():
                    shutil.rmtree(folder)  # a folder that is not empty cannot be replaced by renaming
                partial.replace(folder)
    except distributed.DistributedError:
        raise
    except Exception as error:  # torch, safetensors and tokenizers each raise their own when the disk is full
        free = shutil.disk_usage(_nearest_existing(folder)).free / 2**30
        raise WriteError(
            f"cannot write {folder} ({free:.1f} GiB free): {first_line(error)}; {_remedy(error, folder)}"
        ) from error
    finally:
        if is_owner:
            shutil.rmtree(partial, ignore_errors=True)
    if by_all:
        distributed.barrier()


def _remedy(error: Exception, path: Path) -> str:
    """What to do about an error of writing `path`."""
    file = next((parent for parent in path.absolute().parents if parent.exists() and not parent.is_dir()), None)
    if file is not None:
        return f"{file} is a file; choose another path"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "change its permissions or choose another path"
    if isinstance(error, OSError) and error.errno == errno.EISDIR:
        return "it is a folder; choose another path"
    return "free some space or choose another --out"


def _partial(path: Path) -> Path:
    """The temporary name in the same folder, so that renaming is atomic."""
    return path.with_name(f".{path.name}.partial")


def _nearest_existing(path: Path) -> Path:
    """The nearest parent folder that exists."""
    return next(parent for parent in path.absolute().parents if parent.is_dir())
