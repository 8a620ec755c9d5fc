"""Read a folder of texts, one row per file. No torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from efface.data.readers.file_formats import (
    TABLE_SUFFIXES,
    TEXT_SUFFIXES,
    decode_utf8,
    format_suffix,
    json_as_text_warnings,
    read_content,
)
from efface.data.readers.limits import Limits
from efface.data.readers.table import SourceRow, SourceTable
from efface.errors import EffaceError

_LISTED_FILES = 5
"""Maximum number of files that a warning lists."""


def read_folder(folder: Path, limits: Limits) -> SourceTable:
    """Read every text of a folder and its subfolders, sorted by path; hidden and blank files are left out.

    Args:
        folder: The folder.
        limits: The most to read from all files together.

    Returns:
        One row per file, with a warning about files that are not read.

    Raises:
        EffaceError: If the folder contains no text, is larger than the limits, or contains data files: then its texts,
            such as a README, describe the data.
    """
    paths = _visible_files(folder)
    if data := next((path for path in paths if format_suffix(path) in (*TABLE_SUFFIXES, ".arrow")), None):
        raise EffaceError(
            f"the folder {folder} contains data, such as {data.relative_to(folder)}; give that file, or the folder "
            "that save_to_disk wrote, or move the texts to a separate folder"
        )
    documents = [path for path in paths if format_suffix(path) in TEXT_SUFFIXES]
    if not documents:
        raise EffaceError(
            f"the folder {folder} contains no .txt or .md file and no saved dataset; give a file inside it"
        )
    rows: list[SourceRow] = []
    blank, warnings, digest, size = [], [], hashlib.sha256(), 0
    limits.check_values(str(folder), len(documents))
    for path in documents:
        content = read_content(path, limits)
        size += len(content)
        limits.check_size(str(folder), size)
        text = decode_utf8(path, content)
        digest.update(_digest_line(folder, path, content))
        warnings += json_as_text_warnings(path, text)
        if text.strip():
            rows.append(SourceRow(str(path), len(rows) + 1, {"text": text}))
        else:
            blank.append(path)
    if not rows:
        raise EffaceError(f"the folder {folder} contains only empty texts; fill them in")
    others = [path for path in paths if path not in documents]
    for reason, left_out in (("empty", blank), ("not .txt or .md", others)):
        if left_out:
            warnings.append(f"{folder}: files not read ({reason}): {_list_files(folder, left_out)}")
    return SourceTable(str(folder), tuple(rows), digest.hexdigest(), tuple(warnings))


def _visible_files(folder: Path) -> list[Path]:
    """Every file that is neither hidden nor in a hidden folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _digest_line(folder: Path, path: Path, content: bytes) -> bytes:
    """The contribution of a file to the hash of the folder."""
    line = f"{path.relative_to(folder).as_posix()}\0{hashlib.sha256(content).hexdigest()}\n"
    return line.encode(errors="surrogateescape")


def _list_files(folder: Path, paths: list[Path]) -> str:
    names = [str(path.relative_to(folder)) for path in paths]
    more = [f"and {len(names) - _LISTED_FILES:,} more"] if len(names) > _LISTED_FILES else []
    return ", ".join([*names[:_LISTED_FILES], *more])
