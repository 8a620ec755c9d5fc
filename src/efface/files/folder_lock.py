"""One writer at a time for a folder or file: a lock that names its holder and is released when its process ends."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from efface import distributed
from efface.errors import EffaceError
from efface.files.permissions import make_folder

LOCK, HOLDER = ".lock", ".lock.holder"
"""Files in a folder that is locked: the lock of the operating system, and who holds it, as JSON."""
_REMEDY = "wait until that has ended, or choose another --out"


@dataclass
class Held:
    """A folder that this process holds."""

    checks: set[str] = field(default_factory=set)
    """Checks of the folder that need not be repeated while it is held."""


_held: dict[tuple[Path, int], Held] = {}
"""Folder, without symbolic links, and thread -> the lock; a thread that holds a folder may lock it again."""


@contextmanager
def lock_folder(folder: Path, *, remedy: str = _REMEDY, wait: bool = False) -> Iterator[None]:
    """Hold a folder for the block, which may lock it again.

    Of the processes that one launcher started, the main one takes the lock for all. The operating system releases it
    when the process ends, also by a kill; the files that then stay are taken over.

    Args:
        folder: Made if it does not exist, and removed again if it is empty after the block.
        remedy: What a message says to do where the folder is in use.
        wait: Wait until no other process holds it.

    Raises:
        EffaceError: The folder is a file or cannot be written, or another process holds it.
    """
    check_writable(folder)
    with _held_by_thread(folder, folder / LOCK, folder / HOLDER, remedy=remedy, wait=wait):
        yield


@contextmanager
def lock_output(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a file, or a folder that is replaced as a whole, for the block; the lock is next to it.

    Args:
        path: What the block writes; it need not exist.
        wait: Wait until no other process holds it.

    Raises:
        EffaceError: Another process writes it, or its folder cannot be written.
    """
    check_writable(path.parent)
    lock_path, holder_path = (path.with_name(f".{path.name}{suffix}") for suffix in (LOCK, HOLDER))
    with _held_by_thread(path, lock_path, holder_path, wait=wait):
        yield


def held(folder: Path) -> Held | None:
    """The lock of this thread on a folder; None where it has none."""
    return _held.get((folder.resolve(), threading.get_ident()))


def is_lock(path: Path) -> bool:
    """Whether a path is a file of a lock, perhaps of a process that was killed."""
    return path.name.endswith((LOCK, HOLDER))


def check_writable(folder: Path) -> None:
    """Check that a folder exists and can be written, or can be made.

    Raises:
        EffaceError: It is a file or below one, or has no permission to write.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        where = f"--out {folder}" if existing == folder else f"--out {folder}: {existing}"
        raise EffaceError(f"{where} is a file; give a folder")
    if not os.access(existing, os.W_OK):
        raise EffaceError(f"--out {folder}: {existing} cannot be written; choose another folder")


@contextmanager
def _held_by_thread(
    path: Path, lock_path: Path, holder_path: Path, *, remedy: str = _REMEDY, wait: bool = False
) -> Iterator[None]:
    key = path.resolve(), threading.get_ident()
    if key in _held:
        yield
        return
    # the other processes of a launch write only once all have checked the folder, so not before the main one has it
    is_main = distributed.launched_rank() == 0
    with _locked(path, lock_path, holder_path, remedy, wait=wait) if is_main else nullcontext():
        _held[key] = Held()
        try:
            yield
        finally:
            del _held[key]


@contextmanager
def _locked(path: Path, lock_path: Path, holder_path: Path, remedy: str, *, wait: bool) -> Iterator[None]:
    missing = [each for each in (lock_path.parent, *lock_path.parent.absolute().parents) if not each.exists()]
    lock = FileLock(lock_path, timeout=-1 if wait else 0)
    try:
        make_folder(lock_path.parent)
        lock.acquire()
    except Timeout as error:
        raise EffaceError(f"{path} is in use by {_describe(holder_path)}; {remedy}") from error
    except OSError as error:
        raise EffaceError(f"{path} cannot be locked: {error.strerror or error}; choose another --out") from error
    try:
        _write_holder(holder_path)
        yield
    finally:
        for each in (holder_path, lock_path):  # while the lock is held: nobody else can have it meanwhile
            with suppress(OSError):
                each.unlink()
        lock.release()
        for each in missing:
            with suppress(OSError):
                each.rmdir()  # if it is empty


def _write_holder(path: Path) -> None:
    holder = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(sep=" ", timespec="seconds"),
    }
    try:
        path.write_text(json.dumps(holder) + "\n", encoding="utf-8")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):  # the lock holds without a name, too
            raise EffaceError(f"cannot write {path}: {error.strerror or error}; choose another --out") from error


def _describe(path: Path) -> str:
    """Who holds a lock: process, host, since when."""
    try:
        holder = json.loads(path.read_bytes()[:1000])
        return f"process {int(holder['process'])} on {holder['host']!s:.99} since {holder['since']!s:.40}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
