"""Rows from Parquet files and from datasets of the library `datasets`, on disk or on the hub. No torch."""

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
"""What the name of a dataset on the hub starts with."""


def parse_parquet(source: str, content: bytes) -> tuple[SourceRow, ...]:
    """Return the rows of a Parquet file as Python objects.

    Raises `EffaceError` for a damaged file, and where pyarrow is not installed.
    """
    pyarrow, parquet = _library("pyarrow", source), _library("pyarrow.parquet", source)
    try:
        values = parquet.read_table(pyarrow.BufferReader(content)).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise EffaceError(f"{source} is not a Parquet file that can be read ({first_line(error)})") from error
    return _rows(source, values)


def is_saved_dataset(folder: Path) -> bool:
    """Say whether `save_to_disk` of a dataset or of several splits wrote this folder."""
    one_split = all((folder / name).is_file() for name in ("dataset_info.json", "state.json"))
    return one_split or (folder / "dataset_dict.json").is_file()


def read_saved_dataset(folder: Path, split: str | None, setting: str) -> Table:
    """Read what `save_to_disk` wrote; `setting` is where `split` can be set, such as `data.forget`.

    Raises `EffaceError` for a damaged folder and a split it does not have.
    """
    datasets = _library("datasets", str(folder))
    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # the library raises what its file formats raise
        raise EffaceError(
            f"{folder} looks like a saved dataset but cannot be loaded ({first_line(error)}); save it again"
        ) from error
    return _table(str(folder), loaded, split, setting)


def read_hub_dataset(file: FileConfig, setting: str) -> Table:
    """Download a dataset, or take it from the cache; its code never runs.

    `setting`: where `file` is set, such as `data.forget`, to be named in complaints. Raises `EffaceError` for a hub
    that cannot be reached within seconds, a dataset that does not exist or needs a login, and one of several subsets
    or splits where none was chosen.
    """
    from huggingface_hub import constants

    datasets = _library("datasets", file.path)
    repo = file.path.removeprefix(HUB)
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", repo):
        raise EffaceError(f"{file.path!r} names no dataset; write it as hf:OWNER/NAME")
    if Path(repo).exists():
        raise EffaceError(f"{file.path}: the library would take the folder {repo} here for it; start from elsewhere")
    if not constants.HF_HUB_OFFLINE and (why := why_unreachable()):
        raise EffaceError(f"{file.path}: {why}; check the connection, or set HF_HUB_OFFLINE=1 to use what is cached")
    try:
        loaded = datasets.load_dataset(repo, name=file.subset, revision=file.revision)
    except Exception as error:  # the library raises what its file formats and its HTTP client raise
        raise _why_not_loaded(datasets, file, repo, error, setting) from error
    name = f"{file.path}@{file.revision}" if file.revision else file.path
    table = _table(f"{name}, subset {file.subset}" if file.subset else name, loaded, file.split, setting)
    return replace(table, is_published=True)


def _why_not_loaded(datasets: Any, file: FileConfig, repo: str, error: Exception, setting: str) -> EffaceError:
    if isinstance(error, ValueError):  # also raised for a subset that was not chosen or that there is not
        try:
            subsets = datasets.get_dataset_config_names(repo, revision=file.revision)
        except Exception:  # then that was not the reason
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


def _table(name: str, loaded: Any, split: str | None, setting: str) -> Table:
    """Take the split asked for, or the only one."""
    if isinstance(loaded, Mapping):
        if split is None and len(loaded) > 1:
            raise EffaceError(f"{name} has several splits; choose one with {setting}.split=NAME: {', '.join(loaded)}")
        split = split or next(iter(loaded))
        if split not in loaded:
            raise EffaceError(f"{name} has no split {split!r}: {suggest(split, loaded)}")
        name, loaded = f"{name}, split {split}", loaded[split]
    elif split is not None:
        raise EffaceError(f"{name} has no splits: remove {setting}.split={split}")
    values = loaded.with_format("arrow")[:].to_pylist()  # as stored: nothing is decoded, such as images
    lines = "".join(json.dumps(value, sort_keys=True, default=str) + "\n" for value in values)
    return Table(name, _rows(name, values), hashlib.sha256(lines.encode()).hexdigest())


def _rows(source: str, values: list[dict[str, object]]) -> tuple[SourceRow, ...]:
    if not values:
        raise EffaceError(f"{source} is empty; give one that has rows")
    return tuple(SourceRow(source, number, value) for number, value in enumerate(values, 1))


def _library(name: str, source: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise EffaceError(f"{source} is read with {package}, which is missing: pip install 'efface[data]'") from error
