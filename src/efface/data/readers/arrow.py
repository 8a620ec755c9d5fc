"""Read Parquet files, and datasets of the library `datasets` on disk or on the hub. No torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from efface.data.config import FileConfig
from efface.data.readers.table import SourceRow, Table
from efface.errors import EffaceError, first_line, suggest
from efface.hub import LOG_IN, why_unreachable

HUB = "hf:"
"""Prefix of a dataset of the hub."""


def parse_parquet(source: str, content: bytes) -> tuple[SourceRow, ...]:
    """Parse a Parquet file.

    Args:
        source: Name of the file in messages.
        content: The file's bytes.

    Returns:
        Its rows.

    Raises:
        EffaceError: If the file is damaged or empty, or pyarrow is not installed.
    """
    pyarrow, parquet = _import_library("pyarrow", source), _import_library("pyarrow.parquet", source)
    try:
        values = parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise EffaceError(
            f"{source} is not a valid Parquet file ({first_line(error)}); write or download it again"
        ) from error
    return _to_rows(source, values)


def is_saved_dataset(folder: Path) -> bool:
    """Whether `save_to_disk` of a dataset or a dataset dictionary wrote this folder."""
    single = all((folder / name).is_file() for name in ("dataset_info.json", "state.json"))
    return single or (folder / "dataset_dict.json").is_file()


def read_saved_dataset(folder: Path, split: str | None, setting: str) -> Table:
    """Read a dataset that `save_to_disk` wrote.

    Args:
        folder: The folder.
        split: The split to read; None if the dataset has only one.
        setting: The setting of the file, such as `data.forget`, for error messages.

    Returns:
        Its rows.

    Raises:
        EffaceError: If the folder is damaged or the split does not exist.
    """
    datasets = _import_library("datasets", str(folder))
    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # depends on the file format
        raise EffaceError(
            f"{folder} looks like a saved dataset but cannot be loaded ({first_line(error)}); save it again"
        ) from error
    return _to_table(str(folder), loaded, split, setting)


def read_hub_dataset(file: FileConfig, setting: str) -> Table:
    """Read a dataset of the Hugging Face hub, or from its cache; code of the dataset is never run.

    Args:
        file: The dataset.
        setting: The setting of the file, such as `data.forget`, for error messages.

    Returns:
        Its rows.

    Raises:
        EffaceError: If the hub cannot be reached, the dataset does not exist or needs a login, or it has several
            subsets or splits and none is chosen.
    """
    from huggingface_hub import constants

    datasets = _import_library("datasets", file.path)
    repo = file.path.removeprefix(HUB)
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", repo):
        raise EffaceError(f"{file.path!r} is not the name of a dataset; write it as hf:OWNER/NAME")
    if Path(repo).exists():
        raise EffaceError(
            f"{file.path}: the library datasets would read the local folder {repo} instead; run efface elsewhere"
        )
    if not constants.HF_HUB_OFFLINE and (reason := why_unreachable()):
        raise EffaceError(f"{file.path}: {reason}; check the connection, or set HF_HUB_OFFLINE=1 to use the cache")
    try:
        loaded = datasets.load_dataset(repo, name=file.subset, revision=file.revision)
    except Exception as error:  # depends on the file format and the HTTP client
        raise _load_error(datasets, file, repo, error, setting) from error
    name = f"{file.path}@{file.revision}" if file.revision else file.path
    table = _to_table(f"{name}, subset {file.subset}" if file.subset else name, loaded, file.split, setting)
    return replace(table, is_published=True)


def _load_error(datasets: Any, file: FileConfig, repo: str, error: Exception, setting: str) -> EffaceError:
    if isinstance(error, ValueError):  # also raised for a missing or unknown subset
        try:
            subsets = datasets.get_dataset_config_names(repo, revision=file.revision)
        except Exception:  # the subset was not the reason
            subsets = []
        if file.subset is None and len(subsets) > 1:
            choice = f"choose one with {setting}.subset=NAME: {', '.join(subsets)}"
            return EffaceError(f"{file.path} has several subsets; {choice}")
        if subsets and file.subset and file.subset not in subsets:
            return EffaceError(f"{file.path} has no subset {file.subset!r}: {suggest(file.subset, subsets)}")
    if isinstance(error, datasets.exceptions.DatasetNotFoundError):
        remedy = f"check the name and the revision; if it is private or gated, {LOG_IN}"
    elif isinstance(error, ConnectionError):
        remedy = "check the connection, and that HF_HUB_OFFLINE is not set"
    else:
        remedy = "download its files and give one of them as a path"
    return EffaceError(f"{file.path} cannot be loaded ({first_line(error)}); {remedy}")


def _to_table(name: str, loaded: Any, split: str | None, setting: str) -> Table:
    """Read the chosen split, or the only one."""
    if isinstance(loaded, Mapping):
        if split is None and len(loaded) > 1:
            raise EffaceError(f"{name} has several splits; choose one with {setting}.split=NAME: {', '.join(loaded)}")
        split = split or next(iter(loaded))
        if split not in loaded:
            raise EffaceError(f"{name} has no split {split!r}: {suggest(split, loaded)}")
        name, loaded = f"{name}, split {split}", loaded[split]
    elif split is not None:
        raise EffaceError(f"{name} has no splits: remove {setting}.split={split}")
    values = loaded.with_format("arrow")[:].to_pylist()  # as stored: images and audio are not decoded
    lines = "".join(json.dumps(value, sort_keys=True, default=str) + "\n" for value in values)
    return Table(name, _to_rows(name, values), hashlib.sha256(lines.encode()).hexdigest())


def _to_rows(source: str, values: list[dict[str, object]]) -> tuple[SourceRow, ...]:
    if not values:
        raise EffaceError(f"{source} is empty; give one that has rows")
    return tuple(SourceRow(source, number, value) for number, value in enumerate(values, 1))


def _import_library(name: str, source: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise EffaceError(
            f"{source} needs the package {package}, which is not installed: pip install 'efface[data]'"
        ) from error
