"""From the path that a user gave to rows, whatever it leads to. No torch."""

from __future__ import annotations

from pathlib import Path

from efface.data.config import FileConfig
from efface.data.readers.arrow import HUB, is_saved_dataset, read_hub_dataset, read_saved_dataset
from efface.data.readers.file_formats import read_file
from efface.data.readers.path_hints import url_problem
from efface.data.readers.table import Table
from efface.data.readers.text_folder import read_folder
from efface.errors import EffaceError


def read_table(file: FileConfig, setting: str) -> Table:
    """Return the rows of a file, a folder of texts, a saved dataset or a dataset of the hub.

    `setting`: where `file` is set, such as `data.forget`, to be named in complaints. Raises `EffaceError` for what
    cannot be read, and for settings that mean nothing for this kind of source.
    """
    if instead := url_problem(file.path):
        raise EffaceError(instead)
    if file.path.startswith(HUB):
        return read_hub_dataset(file, setting)
    path = Path(file.path).expanduser()
    is_saved = path.is_dir() and is_saved_dataset(path)
    for name in ("subset", "revision") if is_saved else ("subset", "revision", "split"):
        if given := getattr(file, name):
            raise EffaceError(f"{setting}.{name}={given} means nothing for {path}, which has no {name}s: remove it")
    if is_saved:
        return read_saved_dataset(path, file.split, setting)
    return read_folder(path) if path.is_dir() else read_file(path)
