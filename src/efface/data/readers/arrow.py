"""Read Parquet files, and datasets of the library `datasets` on disk or on the hub. No torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from efface.data.config import FileConfig
from efface.data.readers.limits import Limits
from efface.data.readers.table import SourceRow, SourceTable
from efface.errors import EffaceError, first_line, install_hint, suggest
from efface.hub import LOG_IN, why_unreachable

HUB = "hf:"
"""Prefix of a dataset of the hub."""
_MAX_ROWS_AT_ONCE = 1000


def parse_parquet(source: str, content: bytes, limits: Limits) -> tuple[SourceRow, ...]:
    """Parse a Parquet file.

    Args:
        source: Name of the file in messages.
        content: The file's bytes.
        limits: The most to read; a column of equal values may take no space in the file.

    Returns:
        Its rows.

    Raises:
        EffaceError: If the file is damaged, empty or larger than the limits, or pyarrow is not installed.
    """
    pyarrow, parquet = _import_library("pyarrow", source), _import_library("pyarrow.parquet", source)
    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(content))
        limits.check_values(source, file.metadata.num_rows * max(1, file.metadata.num_columns))
        values = _to_values(source, file.iter_batches(_rows_at_once(_largest_column(file.metadata), limits)), limits)
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        raise EffaceError(
            f"{source} is not a valid Parquet file ({first_line(error)}); write or download it again"
        ) from error
    return _to_rows(source, values)


def is_saved_dataset(folder: Path) -> bool:
    """Whether `save_to_disk` of a dataset or a dataset dictionary wrote this folder."""
    single = all((folder / name).is_file() for name in ("dataset_info.json", "state.json"))
    return single or (folder / "dataset_dict.json").is_file()


def read_saved_dataset(folder: Path, split: str | None, limits: Limits) -> SourceTable:
    """Read a dataset that `save_to_disk` wrote.

    Args:
        folder: The folder.
        split: The split to read; None if the dataset has only one.
        limits: The most to read.

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
    return _to_table(str(folder), loaded, split, limits)


def read_hub_dataset(file: FileConfig, limits: Limits, *, first: int | None = None) -> SourceTable:
    """Read a dataset of the Hugging Face hub, or from its cache; code of the dataset is never run.

    Args:
        file: The dataset.
        limits: The most to read.
        first: Number of rows to read, from the first on; None reads all.

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
        raise _load_error(datasets, file, repo, error, limits.setting) from error
    name = f"{file.path}@{file.revision}" if file.revision else file.path
    table = _to_table(f"{name}, subset {file.subset}" if file.subset else name, loaded, file.split, limits, first)
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


def _to_table(name: str, loaded: Any, split: str | None, limits: Limits, first: int | None = None) -> SourceTable:
    """Read the chosen split, or the only one."""
    if isinstance(loaded, Mapping):
        if split is None and len(loaded) > 1:
            raise EffaceError(
                f"{name} has several splits; choose one with {limits.setting}.split=NAME: {', '.join(loaded)}"
            )
        split = split or next(iter(loaded))
        if split not in loaded:
            raise EffaceError(f"{name} has no split {split!r}: {suggest(split, loaded)}")
        name, loaded = f"{name}, split {split}", loaded[split]
    elif split is not None:
        raise EffaceError(f"{name} has no splits: remove {limits.setting}.split={split}")
    if first is not None:
        loaded = loaded.select(range(min(first, len(loaded))))
    limits.check_values(name, len(loaded) * max(1, len(loaded.column_names)))
    stored = loaded.with_format("arrow")  # as stored: images and audio are not decoded
    count = _rows_at_once(loaded.data.nbytes, limits)
    values = _to_values(name, (stored[start : start + count] for start in range(0, len(loaded), count)), limits)
    lines = "".join(json.dumps(value, sort_keys=True, default=str) + "\n" for value in values)
    return SourceTable(name, _to_rows(name, values), hashlib.sha256(lines.encode()).hexdigest())


def _largest_column(metadata: Any) -> int:
    """Bytes of the largest column of a Parquet file, uncompressed."""
    groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
    columns = (group.column(index) for group in groups for index in range(group.num_columns))
    return max((column.total_uncompressed_size for column in columns), default=0)


def _rows_at_once(longest: int, limits: Limits) -> int:
    """The number of rows that fit into the limits even if each repeats a value of `longest` bytes."""
    return max(1, min(_MAX_ROWS_AT_ONCE, limits.max_bytes // max(1, longest)))


def _to_values(source: str, batches: Iterable[Any], limits: Limits) -> list[dict[str, object]]:
    """Rows as Python objects."""
    values: list[dict[str, object]] = []
    size = 0
    for batch in batches:
        rows = batch.to_pylist()
        size += sum(map(_size, rows))
        limits.check_size(source, size)
        values += rows
    return values


def _size(value: object) -> int:
    """Characters of the texts in a value. Arrow stores equal texts once, Python stores each."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 0


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
            f"{source} needs the package {package}, which is not installed; {install_hint('data')}"
        ) from error
