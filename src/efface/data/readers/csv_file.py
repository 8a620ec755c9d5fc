"""Read CSV and TSV. No torch."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from efface.data.readers.table import SourceRow, read_rows
from efface.errors import EffaceError

Record = tuple[int, list[str]]
"""The line on which a record starts, and its fields."""

_NO_DELIMITER = "\x1f"
"""The module csv requires a delimiter: ASCII's unit separator, which no text contains."""
_DELIMITERS = (",;\t", "|")
"""Groups in order of preference: a group is tried only if no delimiter of an earlier one splits the header."""
_SEPARATOR_LINE = re.compile(r"sep=(.)(?=\r?\n)")
"""Excel's declaration of the delimiter in a line before the header."""


def parse_csv(source: str, text: str, *, delimiters: Sequence[str] = _DELIMITERS) -> tuple[SourceRow, ...]:
    """Parse CSV with a header.

    The delimiter is that of a first line `sep=;`, otherwise the one that splits the header into most columns,
    preferably into as many as the first row. With a single column, every line is one text.

    Args:
        source: Name of the file in messages.
        text: Content of the file.
        delimiters: Possible delimiters, in groups in order of preference.

    Returns:
        One row per record after the header, with the number of its first line; an empty field is null.

    Raises:
        EffaceError: If there are no rows, a column name occurs twice, quotes do not match, or a row has more or fewer
            fields than the header.
    """
    if declared := _SEPARATOR_LINE.match(text):
        text, delimiters = text[declared.end() :], (declared[1],)  # the line break stays, for the line numbers
    with _unlimited_field_size(len(text)):
        delimiter = _detect_delimiter(source, text, delimiters)
        records = [*_read_records(source, text, delimiter)]
    if not records:
        raise EffaceError(f"{source} is empty; write a line of column names such as question,answer and rows below it")
    columns = _column_names(source, *records[0])
    if not records[1:]:
        raise EffaceError(f"{source} has column names ({', '.join(columns)}) and no rows; write them below")

    def to_row(record: Record) -> SourceRow:
        return SourceRow(source, record[0], _to_values(source, *record, columns, delimiter), unit="line", is_cells=True)

    return tuple(read_rows(records[1:], to_row))


def _detect_delimiter(source: str, text: str, delimiters: Sequence[str]) -> str:
    for group in delimiters:
        scores = {delimiter: _score_delimiter(source, text, delimiter) for delimiter in group}
        if usable := [delimiter for delimiter in group if scores[delimiter][1] > 1]:
            return max(usable, key=lambda delimiter: scores[delimiter])
    return _NO_DELIMITER


def _score_delimiter(source: str, text: str, delimiter: str) -> tuple[bool, int]:
    """Whether the first row has as many fields as the header, and the number of fields of the header."""
    records = islice(_read_records(source, text, delimiter, strict=False), 2)
    header, *row = [len(fields) for _, fields in records] or [0]
    return row in ([], [header]), header


def _read_records(source: str, text: str, delimiter: str, *, strict: bool = True) -> Iterator[Record]:
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


def _column_names(source: str, line: int, header: list[str]) -> list[str]:
    # pandas writes its index as a first column without a name
    columns = [name.strip() or f"column {number}" for number, name in enumerate(header, 1)]
    if repeated := [name for name, count in Counter(columns).items() if count > 1]:
        raise EffaceError(f"{source}, line {line}: two columns are called {repeated[0]!r}; rename one of them")
    return columns


def _to_values(source: str, line: int, fields: list[str], columns: list[str], delimiter: str) -> dict[str, object]:
    if len(fields) != len(columns):
        raise EffaceError(
            f"{source}, line {line}: {len(fields)} field(s), but the header has {len(columns)}; put every text that "
            f"contains {delimiter!r} or a line break in double quotes"
        )
    return {column: field or None for column, field in zip(columns, fields, strict=True)}


@contextmanager
def _unlimited_field_size(length: int) -> Iterator[None]:
    """Allow fields as long as the file; Python's limit, which applies to the whole process, is 128 KiB."""
    previous = csv.field_size_limit()
    csv.field_size_limit(max(previous, length))
    try:
        yield
    finally:
        csv.field_size_limit(previous)
