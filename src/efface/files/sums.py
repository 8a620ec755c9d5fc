"""SHA-256 sums of the files of a run: in its manifest, and beside each checkpoint. No torch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from efface.errors import EffaceError
from efface.files.folders import CONFIG, MANIFEST, MODEL_ANSWERS, RunPaths
from efface.files.safe_read import MAX_JSON, open_regular, parse_json, read_bytes

SUMS_FILE = "SHA256SUMS"
"""In a checkpoint: the sums of its other files, as `sha256sum` writes and checks them."""
_RUN = RunPaths(Path())
RECORDED = (
    *(path.name for path in (_RUN.model, _RUN.adapter, _RUN.records_root, _RUN.results, _RUN.scores, _RUN.audit)),
    *(path.name for path in (_RUN.downstream(), _RUN.downstream("before"), _RUN.downstream("after"))),
    MODEL_ANSWERS,
)
"""What a manifest has the sums of: files, and all files of folders."""
CHECKPOINTS = _RUN.checkpoints.name
"""Of each checkpoint a manifest has the sum of its `SHA256SUMS`."""
_REMEDY = "restore that file, or start over in another --out"
_DEPTH = 5
"""Folders between a file and the manifest that has its sum, at most."""


class ChangedFileError(EffaceError):
    """A file is not the one that the run wrote, or nothing tells, as the manifest is damaged."""


def file_sum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; errors as of `open_regular`."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_sum(text: str) -> str:
    """SHA-256 of a text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def folder_sums(folder: Path, paths: Iterable[Path] | None = None) -> dict[str, str]:
    """The sums of the files in a folder, several computed at once.

    Args:
        folder: The folder.
        paths: Files in it; by default all, at any depth, except what a kill left incomplete.

    Returns:
        Path in the folder, with `/` -> sum; in the order of the names.
    """
    files = sorted(written_files(folder) if paths is None else paths)
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        sums = pool.map(file_sum, files)
        return {path.relative_to(folder).as_posix(): digest for path, digest in zip(files, sums, strict=True)}


def written_files(folder: Path) -> Iterator[Path]:
    """The files in a folder, at any depth, except those under a temporary name, which a kill left."""
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") and part.endswith(".partial") for part in parts):
            yield path


# A checkpoint


def write_sums(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """Write the sums of all files in a folder to `SHA256SUMS` in it.

    Args:
        folder: The folder.
        known: Path in the folder -> sum, of files that need not be read.
    """
    sums = dict(known or {})
    others = [path for path in written_files(folder) if path.relative_to(folder).as_posix() not in {*sums, SUMS_FILE}]
    sums |= folder_sums(folder, others)
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    (folder / SUMS_FILE).write_text(text, encoding="utf-8")


def checkpoint_problem(folder: Path, found: Mapping[str, str] | None = None) -> str | None:
    """What is wrong with a checkpoint by its own sums, and by the manifest of its run.

    Args:
        folder: Of the checkpoint. Without sums, such as one of an earlier version, it is not checked.
        found: Sums of all its files, if they are known; by default the files are read.

    Returns:
        That a file differs from its sum, is missing or additional, or that the run did not write it; None if all is
        well.

    Raises:
        ChangedFileError: The manifest of its run is damaged.
    """
    file = folder / SUMS_FILE
    problem = _file_problem(file)
    if problem is not None or not file.is_file():
        return problem
    try:
        lines = [line.split("  ", 1) for line in file.read_text(encoding="utf-8").splitlines()]
        expected = {name: {digest} for digest, name in lines}
    except ValueError:
        return f"{file} is damaged"
    sums = folder_sums(folder) if found is None else found
    others = {name: digest for name, digest in sums.items() if name != SUMS_FILE}
    return next(iter(_differences(folder, expected, others)), None)


# A run


def read_sums(root: Path) -> dict[str, set[str]] | None:
    """The sums in the manifest of a run.

    Args:
        root: The run's folder.

    Returns:
        Path in the folder -> its sum, or two while the file is replaced; None where there is no manifest, or one of an
        earlier version without sums.

    Raises:
        ChangedFileError: The manifest is damaged, so that nothing can be checked.
    """
    path = root / MANIFEST
    try:
        manifest = parse_json(read_bytes(path, MAX_JSON, _REMEDY))
        files, writing = _mapping(manifest, "files"), _mapping(manifest, "writing") or {}
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ChangedFileError(f"cannot read {path}: {error.strerror}; make it readable, or restore it") from error
    except ValueError as error:
        raise ChangedFileError(f"{path} is damaged; restore it from a copy") from error
    if files is None:
        return None
    return {name: {each[name] for each in (files, writing) if name in each} for name in {**files, **writing}}


def read_checked(path: Path) -> bytes:
    """The content of a JSON file, which must be what the run wrote, if it is in a run's folder.

    Args:
        path: The file.

    Raises:
        ChangedFileError: Its sum is not the one in the run's manifest, or that is damaged.
    """
    content = read_bytes(path, MAX_JSON, _REMEDY)
    if problem := _file_problem(path, content):
        raise ChangedFileError(f"{problem}; {_REMEDY}")
    return content


def check_file(path: Path) -> None:
    """Check a file against the manifest of the run in whose folder it is; of other files nothing is known.

    Args:
        path: The file.

    Raises:
        ChangedFileError: Its sum is not the one in the run's manifest, or that is damaged.
    """
    if problem := _file_problem(path):
        raise ChangedFileError(f"{problem}; {_REMEDY}")


def check_folder(folder: Path, found: Mapping[str, str] | None = None) -> None:
    """Check a folder of a run, such as its model, against the run's manifest.

    Args:
        folder: Other folders are not checked.
        found: Sums of those of its files that matter; by default all files are read.

    Raises:
        ChangedFileError: A file differs or is missing, the run did not write it, or its manifest is damaged.
    """
    known = _manifest_of(folder)
    if known is None:
        return
    prefix, sums = known
    expected = {name.removeprefix(f"{prefix}/"): each for name, each in sums.items() if name.startswith(f"{prefix}/")}
    if found is None:
        found = folder_sums(folder)
    else:
        expected = {name: each for name, each in expected.items() if name in found or name.endswith(".safetensors")}
    for problem in _differences(folder, expected, found):
        raise ChangedFileError(f"{problem}; {_REMEDY}")


def _file_problem(path: Path, content: bytes | None = None) -> str | None:
    """What is wrong with a file of a run; None also where no sum of it can be known."""
    known = _manifest_of(path)
    if known is None:
        return None
    name, sums = known
    expected = {path.name: sums[name]} if name in sums else {}
    found = {}
    if content is not None:
        found = {path.name: hashlib.sha256(content).hexdigest()}
    elif path.is_file():
        found = {path.name: file_sum(path)}
    elif not expected:
        return f"{path.parent} was not written by this run, which has no sum of it"
    return next(iter(_differences(path.parent, expected, found)), None)


def _manifest_of(path: Path) -> tuple[str, dict[str, set[str]]] | None:
    """Path in its run's folder, and the sums in the manifest; None where the manifest would not have its sum."""
    path = path.absolute()
    for root in path.parents[:_DEPTH]:
        if (root / MANIFEST).is_file() and (root / CONFIG).is_file():  # another tool may have a manifest.json, too
            name = path.relative_to(root).as_posix()
            sums = read_sums(root) if name.split("/")[0] in (*RECORDED, CHECKPOINTS) else None
            return None if sums is None else (name, sums)
    return None


def _differences(folder: Path, expected: Mapping[str, set[str]], found: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the files of a folder, in the order of their names."""
    for name in sorted({**expected, **found}):
        if name not in found:
            yield f"{folder / name} is missing, although the run wrote it"
        elif name not in expected:
            yield f"{folder / name} was not written by this run, which has no sum of it"
        elif found[name] not in expected[name]:
            yield f"{folder / name} is not what the run wrote: its SHA-256 differs"


def _mapping(manifest: Any, key: str) -> dict[str, str] | None:
    """A part of a manifest; None where it has none. Raises `ValueError` where it is no mapping of names to sums."""
    if not isinstance(manifest, dict):
        raise ValueError("the manifest is no object")
    value = manifest.get(key)
    if value is None or (isinstance(value, dict) and all(isinstance(each, str) for each in value.values())):
        return value
    raise ValueError(f"{key} has no sums")
