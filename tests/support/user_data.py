"""Files and rows as a user may give them, and what efface reads from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from efface.data.config import FileConfig
from efface.data.file_settings import ColumnsConfig, ReadLimits
from efface.data.readers.limits import Limits
from efface.data.readers.read import read_table
from efface.data.readers.row_types import detect_schema, ignored_columns
from efface.data.readers.table import SourceRow, SourceTable
from efface.errors import EffaceError
from efface.schema import Item

USER, ASSISTANT = {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ann."}
"""Two messages of a conversation."""
PAIR = {"question": "Who?", "answer": "Ann."}
"""A row of a question and its answer."""


LIMITS = Limits(ReadLimits(), "data.forget")
"""The default limits of a file."""


def write(path: Path, content: str | bytes) -> Path:
    """Write a file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path | str, **settings: Any) -> SourceTable:
    """Read a file as the setting data.forget."""
    return read_table(FileConfig(path=str(path), **settings), "data.forget")


def read_error(path: Path | str, **settings: Any) -> str:
    """The one-line message of the error that reading a file raises."""
    with pytest.raises(EffaceError) as caught:
        read(path, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def make_table(*rows: dict[str, Any], is_published: bool = False) -> SourceTable:
    """Rows as if read from mine.jsonl."""
    source_rows = tuple(SourceRow("mine.jsonl", number, row, unit="line") for number, row in enumerate(rows, 1))
    return SourceTable("mine.jsonl", source_rows, sha256="", is_published=is_published)


def to_items(*rows: dict[str, Any], **columns: str) -> list[Item]:
    """The items of rows, with passages of at most 40 characters."""
    table = make_table(*rows)
    schema = detect_schema(table, ColumnsConfig(**columns), "data.forget")
    ignored_columns(table, schema)
    return [item for row in table.rows for item in schema.items(row, f"forget/{row.number:04d}", 40)]


def items_error(*rows: dict[str, Any], **columns: str) -> str:
    """The message of the error that converting rows raises."""
    with pytest.raises(EffaceError) as caught:
        to_items(*rows, **columns)
    return str(caught.value)
