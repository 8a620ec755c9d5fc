"""Rows from CSV and TSV. No torch."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from efface.data.readers.table import SourceRow, read_rows
from efface.errors import EffaceError

Record = tuple[int, list[str]]
"""The line that a record starts on, and its fields."""

_NONE = "\x1f"
"""Stands for no delimiter, since the module csv asks for one: ASCII's unit separator, which no text holds."""
_DELIMITERS = (",;\t", "|")
"""Those of a group are tried only where no earlier one cuts the header."""
_SEPARATOR_LINE = re.compile(r"sep=(.)(?=\r?\n)")
"""What Excel writes above the header, and reads there."""


def parse_csv(source: str, text: str, *, delimiters: Sequence[str] = _DELIMITERS) -> tuple[SourceRow, ...]:
    """Return one row per record below the header, numbered by the line it starts on.

    The delimiter is the one that a first line `sep=;` names, or that cuts the header into most columns, the first row
    below it into as many if there is one; below a single column, every line is one text. An empty field is null; any
    other is text.
    Raises `EffaceError` for a file without rows, columns without a name of their own, quotes that do not match, and
    a row of another length than the header.
    """
    if named := _SEPARATOR_LINE.match(text):
        text, delimiters = text[named.end() :], (named[1],)  # the line break stays, for the numbers of the lines
    with _long_fields(len(text)):
        delimiter = _delimiter(source, text, delimiters)
        records = [*_records(source, text, delimiter)]
    if not records:
        raise EffaceError(f"{source} is empty; write a line of column names such as question,answer and rows below it")
    columns = _columns(source, *records[0])
    if not records[1:]:
        raise EffaceError(f"{source} has column names ({', '.join(columns)}) and no rows; write them below")

    def row(record: Record) -> SourceRow:
        return SourceRow(source, record[0], _values(source, *record, columns, delimiter), unit="line", is_cells=True)

    return tuple(read_rows(records[1:], row))


def _delimiter(source: str, text: str, delimiters: Sequence[str]) -> str:
    for group in delimiters:
        cuts = {each: _cut(source, text, each) for each in group}
        if usable := [each for each in group if cuts[each][1] > 1]:
            return max(usable, key=lambda each: cuts[each])
    return _NONE


def _cut(source: str, text: str, delimiter: str) -> tuple[bool, int]:
    """Whether a delimiter cuts the first row into as many fields as the header, and how many the header's are."""
    header, *row = [len(fields) for _, fields in islice(_records(source, text, delimiter, strict=False), 2)] or [0]
    return row in ([], [header]), header


def _records(source: str, text: str, delimiter: str, *, strict: bool = True) -> Iterator[Record]:
    """Yield every record that is not a blank line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise EffaceError(
                f"{source}, line {line}: not valid CSV ({error}); close every quote, and double those inside a text"
            ) from error
        if fields is None:
            return
        if any(field.strip() for field in fields):
            yield line, fields


def _columns(source: str, line: int, header: list[str]) -> list[str]:
    # pandas writes its index as a first column without a name
    columns = [name.strip() or f"column {place}" for place, name in enumerate(header, 1)]
    for name in columns:
        if columns.count(name) > 1:
            raise EffaceError(f"{source}, line {line}: two columns are called {name!r}; rename one of them")
    return columns


def _values(source: str, line: int, fields: list[str], columns: list[str], delimiter: str) -> dict[str, object]:
    if len(fields) != len(columns):
        raise EffaceError(
            f"{source}, line {line}: {len(fields)} field(s) where the header has {len(columns)}; put every text that "
            f"holds {delimiter!r} or a line break in double quotes"
        )
    return {column: field or None for column, field in zip(columns, fields, strict=True)}


@contextmanager
def _long_fields(length: int) -> Iterator[None]:
    """Let a field be as long as the file; Python's limit for the whole process is 128 KiB."""
    before = csv.field_size_limit()
    csv.field_size_limit(max(before, length))
    try:
        yield
    finally:
        csv.field_size_limit(before)
