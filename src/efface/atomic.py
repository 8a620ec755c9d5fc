"""Files that appear whole or not at all. Of several processes, the first writes, and the others wait for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from efface import distributed
from efface.distributed import on_main_process
from efface.errors import EffaceError, first_line


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; rename it onto `path` only when the block succeeds.

    Raises `EffaceError` when the disk is full or the folder cannot be written; nothing half-written stays.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(path)
    except OSError as error:
        raise EffaceError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another --out"
        ) from error
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, or nothing."""

    def write() -> None:
        with atomic_file(path) as beside:
            beside.write_text(text, encoding="utf-8")

    on_main_process(write)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file, or nothing. NaN is refused: a score that cannot be had is null."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def atomic_folder(folder: Path, *, by_all: bool = False) -> Iterator[Path]:
    """Yield a path for a new folder beside `folder`; it takes the place of `folder` only when the block succeeds.

    Of several processes, one writes it, inside `processes.by_first`; or all of them do, `by_all`. Raises `EffaceError`
    where writing fails; nothing half-written stays.
    """
    beside = folder.with_name(f".{folder.name}.partial")
    acts = not by_all or distributed.is_main_process()
    try:
        if acts:
            shutil.rmtree(beside, ignore_errors=True)  # what a kill left behind
            folder.parent.mkdir(parents=True, exist_ok=True)
        if by_all:
            distributed.barrier()
        yield beside
        if by_all:
            distributed.barrier()
        if acts:
            if folder.is_dir():
                shutil.rmtree(folder)  # a folder that is not empty cannot be renamed onto
            beside.replace(folder)
    except distributed.DistributedError:
        raise
    except Exception as error:  # torch, safetensors and tokenizers each raise their own when the disk is full
        free = shutil.disk_usage(_nearest_existing(folder)).free / 2**30
        raise EffaceError(
            f"cannot write {folder} ({free:.1f} GiB free): {first_line(error)}; free some space or choose another --out"
        ) from error
    finally:
        if acts:
            shutil.rmtree(beside, ignore_errors=True)
    if by_all:
        distributed.barrier()


def _nearest_existing(path: Path) -> Path:
    """The nearest folder above `path` that is there."""
    return next(parent for parent in path.absolute().parents if parent.is_dir())
