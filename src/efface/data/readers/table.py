"""Rows of a user's data in any file format, with checked access to their columns. No torch."""

from __future__ import annotations

import difflib
import json
import re
from ast import literal_eval
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeVar

from efface.errors import EffaceError

_MISSPELLED = 0.8
"""Minimum similarity, from 0 to 1, of an unknown column that is taken for a misspelled one."""

_ABSENT = object()
_LIST_OF_TEXTS = re.compile(r"""\s*\[\s*["']""")

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class SourceRow:
    """One row: values by column, and its position in the source.

    Columns have the names of the file. A dot selects a key of an object, or an element of a list by its index from 0
    (`answers.text.0`), unless a column has the whole name.
    """

    source: str
    number: int
    """Line or row number, counted from 1."""
    values: Mapping[str, object]
    unit: Literal["line", "row"] = "row"
    is_cells: bool = False
    """Whether the values are CSV fields, which contain only text."""

    def has(self, column: str) -> bool:
        """Whether the row has such a column, even if null."""
        return self._lookup(column) is not _ABSENT

    def value(self, column: str) -> object:
        """The value of a column; None if it is absent or null."""
        value = self._lookup(column)
        return None if value is _ABSENT else value

    def text(self, column: str) -> str:
        """Read a required text.

        Args:
            column: Name of the column.

        Returns:
            The text with Windows line breaks replaced by line feeds.

        Raises:
            EffaceError: If the column is absent, null, blank or not text.
        """
        if not self.has(column):
            raise self._missing_column(column)
        return self.check_text(self.value(column), f"column {column!r}")

    def optional_text(self, column: str) -> str | None:
        """The text of a column, as `text`; None if the column is absent or null."""
        return None if self.value(column) is None else self.text(column)

    def text_or_blank(self, column: str) -> str:
        """The text of a column, as `text`; empty if the column is absent, null or blank."""
        value = self.value(column)
        return "" if value is None or (isinstance(value, str) and not value.strip()) else self.text(column)

    def texts(self, column: str) -> tuple[str, ...]:
        """Read a text or a list of texts.

        Args:
            column: Name of the column; a CSV field may contain a list in JSON or Python syntax.

        Returns:
            The texts; empty if the column is absent or null.

        Raises:
            EffaceError: If an element is null, blank or not text, or if a list in a CSV field is malformed.
        """
        value = self.value(column)
        if value is None:
            return ()
        if self.is_cells and isinstance(value, str):
            value = self._parse_list(value, column)
        values = value if isinstance(value, list) else [value]
        return tuple(self.check_text(each, f"column {column!r}") for each in values)

    def integer(self, column: str) -> int:
        """Read an integer that is stored as a number or as text (TOFU has "1", real-world 1).

        Args:
            column: Name of the column.

        Returns:
            The integer.

        Raises:
            EffaceError: If the value is not an integer.
        """
        value = self.value(column)
        try:
            return int(str(value))
        except ValueError:
            problem = f"column {column!r} must be an integer, not {value!r}"
            raise self.error(problem, "correct it") from None

    def check_text(self, value: object, what: str) -> str:
        """Check that a value is a usable text.

        Args:
            value: The value.
            what: What the value is, for the error message.

        Returns:
            The text with Windows line breaks replaced by line feeds.

        Raises:
            EffaceError: If the value is null, blank, not text, or not valid Unicode.
        """
        if value is None:
            raise self.error(f"{what} is null or empty", "fill it in or remove the row")
        if not isinstance(value, str):
            raise self.error(f"{what} must be text, not {type_name(value)}", "convert it to text")
        if not value.strip():
            raise self.error(f"{what} is blank", "fill it in or remove the row")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise self.error(f"{what} contains half of a surrogate pair", "write the whole character") from None
        return value.replace("\r\n", "\n")

    def unknown_columns(self, known: Iterable[str]) -> list[str]:
        """Find columns that are not read.

        Args:
            known: Names of the columns that are read.

        Returns:
            The other columns of the row.

        Raises:
            EffaceError: If one of them looks like a misspelled known column.
        """
        known = set(known)
        unknown = [column for column in self.values if column not in known]
        for column in unknown:
            close = difflib.get_close_matches(column.lower(), known - self.values.keys(), n=1, cutoff=_MISSPELLED)
            if close:
                raise self.error(f"unknown column {column!r}", f"rename it to {close[0]!r} or remove it")
        return unknown

    def error(self, problem: str, remedy: str) -> EffaceError:
        """Build an error about this row.

        Args:
            problem: What is wrong with the row.
            remedy: What the user should do.

        Returns:
            The error, whose message also names source and row.
        """
        return EffaceError(f"{self.source}, {self.unit} {self.number}: {problem}; {remedy}")

    def _lookup(self, column: str) -> object:
        if column in self.values:
            return self.values[column]
        value: object = self.values
        for part in column.split("."):
            if isinstance(value, Mapping) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            else:
                return _ABSENT
        return value

    def _parse_list(self, cell: str, column: str) -> object:
        """The list of texts that a CSV field contains, otherwise the field unchanged."""
        for parse in (json.loads, literal_eval):  # pandas writes lists in Python syntax
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                value = parse(cell.strip())
                is_list = isinstance(value, list) and (not value or any(isinstance(each, str) for each in value))
                return value if is_list else cell
        if _LIST_OF_TEXTS.match(cell):
            problem = f"column {column!r} starts like a list but is not a valid one"
            raise self.error(problem, 'write it as ["one", "two"], with each text in double quotes')
        return cell

    def _missing_column(self, column: str) -> EffaceError:
        """The error about an absent column, or an absent value inside a column."""
        parts = column.split(".")
        for end in range(1, len(parts)):
            if self.value(path := ".".join(parts[:end])) == []:
                return self.error(f"the list {path} is empty", "remove the row or fill it in")
        close = difflib.get_close_matches(column, self.values, n=1) if len(parts) == 1 else []
        columns = ", ".join(self.values) or "none"
        remedy = f"rename {close[0]!r} to {column!r}" if close else f"add it (the row has: {columns})"
        return self.error(f"no column {column!r}", remedy)


@dataclass(frozen=True)
class SourceTable:
    """All rows of one source; at least one."""

    name: str
    """Name in messages and in `Task.sources`."""
    rows: tuple[SourceRow, ...]
    sha256: str
    """Hash of the content: a file's bytes (after decompression), or the rows as canonical JSON."""
    warnings: tuple[str, ...] = ()
    is_published: bool = False
    """Whether the user cannot rename its columns, as in a dataset of the hub."""


def read_rows(rows: Iterable[T], read: Callable[[T], R]) -> list[R]:
    """Apply a function to every row and report all errors at once.

    Args:
        rows: The rows.
        read: Converts one row; may raise `EffaceError`.

    Returns:
        The results in order.

    Raises:
        EffaceError: The first error, with the number of further rows that have one.
    """
    results: list[R] = []
    first, further = None, 0
    for row in rows:
        try:
            results.append(read(row))
        except EffaceError as error:
            if first is None:
                first, results = str(error), []
            else:  # only counted: an error keeps the row and its context alive
                further += 1
    if first is None:
        return results
    suffix = f" ({further:,} more {'rows have' if further > 1 else 'row has'} a problem)" if further else ""
    raise EffaceError(first + suffix)


def type_name(value: object) -> str:
    """The type of a JSON, Parquet or CSV value in words."""
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}")
