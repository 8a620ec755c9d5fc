"""Who may read what efface writes: files of a run are for their owner alone, unless `private` is false. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from efface.errors import EffaceError

_private: dict[Path, bool] = {}
"""Folder that is being written -> whether it is for its owner alone."""


@contextmanager
def readable(root: Path, *, private: bool) -> Iterator[None]:
    """For the block, decide who may read what is written to a folder; a folder within it may decide for itself.

    Args:
        root: A run's folder. It is changed when something is written to it, so that a run that is refused changes
            nothing.
        private: Only its owner: files are 0600 and folders 0700. Otherwise the umask of the process decides.
    """
    key = root.absolute()
    earlier = _private.get(key)
    _private[key] = private
    try:
        yield
    finally:
        if earlier is None:
            del _private[key]
        else:
            _private[key] = earlier


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents; those in a private folder are private, too.

    Raises:
        EffaceError: The private folder belongs to somebody else.
        OSError: It cannot be made.
    """
    root = _root(folder / "file")
    if root is None or not _private[root]:
        folder.mkdir(parents=True, exist_ok=True)
        return
    for path in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        is_within = root in (path.absolute(), *path.absolute().parents)
        path.mkdir(mode=0o700 if is_within else 0o777, exist_ok=True)  # never open, not even for a moment
    folder.mkdir(exist_ok=True)  # an error where a file has its name
    _restrict(root, 0o700)


def settle(path: Path) -> None:
    """Give a complete file or folder, before it appears under its name, the mode that its run asks for.

    Some libraries write files that only their owner can read, others leave it to the umask.

    Args:
        path: Outside of the folders of `readable` nothing is changed.
    """
    root = _root(path)
    if root is None:
        return
    for each in (path, *path.rglob("*")) if path.is_dir() else (path,):
        if each.is_symlink():
            continue
        if _private[root]:
            _restrict(each, 0o700 if each.is_dir() else 0o600)
        elif each.is_file() and each != path:
            each.chmod(each.parent.stat().st_mode & 0o666)  # as the umask made its folder


def _root(path: Path) -> Path | None:
    """The nearest folder of `readable` that contains a path."""
    return next((each for each in path.absolute().parents if each in _private), None)


def _restrict(path: Path, mode: int) -> None:
    if path.stat().st_mode & 0o777 == mode:
        return
    try:
        path.chmod(mode)
    except PermissionError as error:
        raise EffaceError(
            f"{path} belongs to another user, so it cannot be made private; set private=false or choose another folder"
        ) from error
