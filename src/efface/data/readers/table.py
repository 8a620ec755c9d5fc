"""One row of a user's data, whatever file it came from, and the complaints about it. No torch."""

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
"""Similarity, of 1, from which an unknown column is taken for a misspelled one."""

_ABSENT = object()
_LIST_OF_TEXTS = re.compile(r"""\s*\[\s*["']""")

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class SourceRow:
    """Named values and where they stand.

    A column is named as in the file; a dot reaches into an object, and into a list by a number counted from 0
    (`answers.text.0`), where no column is called so as a whole.
    """

    source: str
    number: int
    """Of the line or row, counted from 1."""
    values: Mapping[str, object]
    unit: Literal["line", "row"] = "row"
    is_cells: bool = False
    """Whether the values are cells of CSV, which hold text alone."""

    def has(self, column: str) -> bool:
        """Say whether there is such a column, be it null."""
        return self._found(column) is not _ABSENT

    def value(self, column: str) -> object:
        """Return what a column holds; None where it is absent or null."""
        value = self._found(column)
        return None if value is _ABSENT else value

    def text(self, column: str) -> str:
        """Return the text of a column that must be there, as stored but for Windows' line breaks."""
        if not self.has(column):
            raise self._absent(column)
        return self.checked(self.value(column), f"column {column!r}")

    def optional_text(self, column: str) -> str | None:
        """Return the text of a column that may be absent or null."""
        return None if self.value(column) is None else self.text(column)

    def text_or_blank(self, column: str) -> str:
        """Return the text of a column that may be absent, null or blank: then nothing."""
        value = self.value(column)
        return "" if value is None or (isinstance(value, str) and not value.strip()) else self.text(column)

    def texts(self, column: str) -> tuple[str, ...]:
        """Return the texts of a column that holds one or a list of them; () where it is absent or null.

        A cell of CSV may hold a list of texts, as JSON or Python writes it.
        """
        value = self.value(column)
        if value is None:
            return ()
        if self.is_cells and isinstance(value, str):
            value = self._list_in(value, column)
        return tuple(self.checked(one, f"column {column!r}") for one in (value if isinstance(value, list) else [value]))

    def integer(self, column: str) -> int:
        """Return a whole number, be it stored as a number or as text (TOFU writes "1", real-world 1)."""
        value = self.value(column)
        try:
            return int(str(value))
        except ValueError:
            problem = f"column {column!r} must hold a whole number, not {value!r}"
            raise self.refusal(problem, "correct it") from None

    def checked(self, value: object, what: str) -> str:
        """Return `value` if it is text that can be used; `what` names it in the complaint.

        Windows' line breaks become those of the texts that models learn from.
        """
        if value is None:
            raise self.refusal(f"{what} holds nothing", "fill it in or remove the row")
        if not isinstance(value, str):
            raise self.refusal(f"{what} must hold text, not {type_name(value)}", "turn it into text")
        if not value.strip():
            raise self.refusal(f"{what} is blank", "fill it in or remove the row")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise self.refusal(f"{what} holds half a surrogate pair", "write the whole character") from None
        return value.replace("\r\n", "\n")

    def unknown_columns(self, known: Iterable[str]) -> list[str]:
        """Return the columns that are not `known`; one that looks like a misspelled known one is refused."""
        known = set(known)
        unknown = [column for column in self.values if column not in known]
        for column in unknown:
            close = difflib.get_close_matches(column.lower(), known - self.values.keys(), n=1, cutoff=_MISSPELLED)
            if close:
                raise self.refusal(f"unknown column {column!r}", f"rename it to {close[0]!r} or remove it")
        return unknown

    def refusal(self, problem: str, remedy: str) -> EffaceError:
        """Return the error that says where and what is wrong with this row, and what to do."""
        return EffaceError(f"{self.source}, {self.unit} {self.number}: {problem}; {remedy}")

    def _found(self, column: str) -> object:
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

    def _list_in(self, cell: str, column: str) -> object:
        """The list of texts that a cell holds, or the cell as it is."""
        for parse in (json.loads, literal_eval):  # pandas writes lists as Python does
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                value = parse(cell.strip())
                is_list = isinstance(value, list) and (not value or any(isinstance(each, str) for each in value))
                return value if is_list else cell
        if _LIST_OF_TEXTS.match(cell):
            problem = f"column {column!r} begins as a list and is none"
            raise self.refusal(problem, 'write it as ["one", "two"], a text in double quotes each')
        return cell

    def _absent(self, column: str) -> EffaceError:
        """Say what is not there: a column, or what a dot reaches for in one."""
        parts = column.split(".")
        for end in range(1, len(parts)):
            if self.value(path := ".".join(parts[:end])) == []:
                return self.refusal(f"the list {path} is empty", "remove the row or fill it in")
        close = difflib.get_close_matches(column, self.values, n=1) if len(parts) == 1 else []
        found = ", ".join(self.values) or "none"
        remedy = f"rename {close[0]!r} to {column!r}" if close else f"add it (the row has: {found})"
        return self.refusal(f"no column {column!r}", remedy)


@dataclass(frozen=True)
class Table:
    """All rows of one source, at least one."""

    name: str
    """As it appears in complaints and in `Task.sources`."""
    rows: tuple[SourceRow, ...]
    sha256: str
    """Of the content: a file's bytes (unpacked, if compressed), or rows as canonical JSON."""
    warnings: tuple[str, ...] = ()
    is_published: bool = False
    """Whether it is someone else's, whose columns the user cannot rename."""


def read_rows(rows: Iterable[T], read: Callable[[T], R]) -> list[R]:
    """Read every row. Raises `EffaceError` about the first that cannot be read, and says how many more there are."""
    done: list[R] = []
    first, more = None, 0
    for row in rows:
        try:
            done.append(read(row))
        except EffaceError as error:
            if first is None:
                first, done = str(error), []
            else:  # counted alone: errors keep what they came from
                more += 1
    if first is None:
        return done
    raise EffaceError(f"{first} ({more:,} more {'rows have' if more > 1 else 'row has'} a problem)" if more else first)


def type_name(value: object) -> str:
    """Say in words what a JSON, Parquet or CSV value is."""
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}")
