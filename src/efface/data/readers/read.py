"""Read rows from any path that a user may give. No torch."""

from __future__ import annotations

from efface.data.config import FileConfig
from efface.data.readers.arrow import HUB, is_saved_dataset, read_hub_dataset, read_saved_dataset
from efface.data.readers.file_formats import read_file
from efface.data.readers.limits import Limits
from efface.data.readers.path_hints import url_problem
from efface.data.readers.table import SourceTable
from efface.data.readers.text_folder import read_folder
from efface.errors import EffaceError
from efface.files.safe_read import expand_home


def read_table(file: FileConfig, setting: str) -> SourceTable:
    """Read a file, a folder of texts, a saved dataset or a dataset of the hub.

    Args:
        file: What to read.
        setting: The setting of the file, such as `data.forget`, for error messages.

    Returns:
        Its rows.

    Raises:
        EffaceError: If it cannot be read, or a setting does not apply to this type of source.
    """
    if problem := url_problem(file.path):
        raise EffaceError(problem)
    limits = Limits(file.limits, setting)
    if file.path.startswith(HUB):
        return read_hub_dataset(file, limits)
    path = expand_home(file.path)
    is_saved = path.is_dir() and is_saved_dataset(path)
    for name in ("subset", "revision") if is_saved else ("subset", "revision", "split"):
        if value := getattr(file, name):
            raise EffaceError(f"{setting}.{name}={value} does not apply to {path}, which has no {name}s: remove it")
    if is_saved:
        return read_saved_dataset(path, file.split, limits)
    return read_folder(path, limits) if path.is_dir() else read_file(path, limits)
