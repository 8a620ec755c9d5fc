"""The texts of a folder, a row each. No torch."""

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
from efface.data.readers.table import SourceRow, Table
from efface.errors import EffaceError

_NAMED = 5
"""So many files are named in a warning."""


def read_folder(folder: Path) -> Table:
    """Return every text in a folder and in those inside it as a row, sorted by path; what is hidden is passed over.

    A blank text is left out with a warning. Raises `EffaceError` for a folder without a text, and for one that holds
    data: then its texts are about the data, such as the README of a dataset.
    """
    paths = _files(folder)
    if data := next((path for path in paths if format_suffix(path) in (*TABLE_SUFFIXES, ".arrow")), None):
        raise EffaceError(
            f"the folder {folder} holds data, such as {data.relative_to(folder)}; give that file, or the folder that "
            "save_to_disk wrote, or move the texts into a folder of their own"
        )
    documents = [path for path in paths if format_suffix(path) in TEXT_SUFFIXES]
    if not documents:
        raise EffaceError(f"the folder {folder} holds no .txt or .md file and no saved dataset; give a file inside it")
    rows: list[SourceRow] = []
    blank, warnings, digest = [], [], hashlib.sha256()
    for path in documents:
        content = read_content(path)
        text = decode_utf8(path, content)
        digest.update(_line(folder, path, content))
        warnings += json_as_text_warnings(path, text)
        if text.strip():
            rows.append(SourceRow(str(path), len(rows) + 1, {"text": text}))
        else:
            blank.append(path)
    if not rows:
        raise EffaceError(f"the folder {folder} holds empty texts alone; fill them in")
    others = [path for path in paths if path not in documents]
    for reason, left_out in (("being empty", blank), ("being no .txt or .md files", others)):
        if left_out:
            warnings.append(f"{folder}: not read, {reason}: {_named(folder, left_out)}")
    return Table(str(folder), tuple(rows), digest.hexdigest(), tuple(warnings))


def _files(folder: Path) -> list[Path]:
    """Every file that is not hidden, nor in a hidden folder."""
    inside = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in inside if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _line(folder: Path, path: Path, content: bytes) -> bytes:
    """What a file adds to the folder's digest."""
    line = f"{path.relative_to(folder).as_posix()}\0{hashlib.sha256(content).hexdigest()}\n"
    return line.encode(errors="surrogateescape")


def _named(folder: Path, paths: list[Path]) -> str:
    names = [str(path.relative_to(folder)) for path in paths]
    more = [f"and {len(names) - _NAMED:,} more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more])
