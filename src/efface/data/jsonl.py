"""Read JSON lines so that every complaint names the file, the line and the column. No torch."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from efface.errors import EffaceError

_MISSPELLED = 0.8
"""Similarity, of 1, from which an unknown column is taken for a misspelled one."""


@dataclass(frozen=True)
class Row:
    """One JSON object of a file, and the line it stands on (counted from 1)."""

    path: Path
    line: int
    values: dict[str, object]

    def text(self, column: str) -> str:
        """Return the text of a column that must be there, exactly as stored."""
        if column not in self.values:
            raise self.refusal(f"no column {column!r}", self._rename_hint(column))
        return self._checked(self.values[column], column)

    def optional_text(self, column: str) -> str | None:
        """Return the text of a column that may be absent or null."""
        return None if self.values.get(column) is None else self.text(column)

    def texts(self, column: str) -> tuple[str, ...]:
        """Return the texts of a column that holds one or a list of them; () where it is absent or null."""
        value = self.values.get(column)
        if value is None:
            return ()
        return tuple(self._checked(one, column) for one in (value if isinstance(value, list) else [value]))

    def integer(self, column: str) -> int:
        """Return a whole number, be it stored as a number or as text (TOFU writes "1", real-world 1)."""
        value = self.values.get(column)
        try:
            return int(str(value))
        except ValueError:
            problem = f"column {column!r} must hold a whole number, not {value!r}"
            raise self.refusal(problem, "correct it") from None

    def refusal(self, problem: str, remedy: str) -> EffaceError:
        """Return the error that says where and what is wrong with this row, and what to do."""
        return EffaceError(f"{self.path}, line {self.line}: {problem}; {remedy}")

    def unknown_columns(self, known: Iterable[str]) -> list[str]:
        """Return the columns that are not `known`; one that looks like a misspelled known one is refused."""
        known = set(known)
        unknown = [column for column in self.values if column not in known]
        for column in unknown:
            close = difflib.get_close_matches(column.lower(), known - self.values.keys(), n=1, cutoff=_MISSPELLED)
            if close:
                raise self.refusal(f"unknown column {column!r}", f"rename it to {close[0]!r} or remove it")
        return unknown

    def _checked(self, value: object, column: str) -> str:
        if not isinstance(value, str):
            raise self.refusal(f"column {column!r} must hold text, not {_kind(value)}", "write it in double quotes")
        if not value.strip():
            raise self.refusal(f"column {column!r} is blank", "fill it in or remove the line")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise self.refusal(f"column {column!r} holds half a surrogate pair", "write the whole character") from None
        return value

    def _rename_hint(self, column: str) -> str:
        close = difflib.get_close_matches(column, self.values, n=1)
        found = ", ".join(self.values) or "none"
        return f"rename {close[0]!r} to {column!r}" if close else f"add it (the line has: {found})"


@dataclass(frozen=True)
class JsonLines:
    """The rows of one file and the SHA-256 of its bytes."""

    rows: tuple[Row, ...]
    sha256: str


def read_jsonl(path: Path) -> JsonLines:
    """Read a file of one JSON object per line; blank lines are passed over.

    Lines end at a line feed only, since texts may hold the other characters that Unicode calls line breaks. A
    byte-order mark is dropped. Raises `EffaceError` for a file that cannot be read, has no rows, is not UTF-8 or
    not JSON.
    """
    content = _read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise EffaceError(f"{path}, line {line}: not UTF-8 text; save the file as UTF-8") from error
    numbered = enumerate(text.split("\n"), 1)
    rows = tuple(Row(path, line, _parse(path, line, source)) for line, source in numbered if source.strip())
    if not rows:
        raise EffaceError(f"{path} is empty; write one JSON object with a question and an answer per line")
    return JsonLines(rows, hashlib.sha256(content).hexdigest())


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise EffaceError(f"there is no file {path}; check the path") from None
    except IsADirectoryError:
        raise EffaceError(f"{path} is a folder; give the JSON-lines file inside it") from None
    except OSError as error:
        raise EffaceError(f"cannot read {path}: {error.strerror or error}; check the path and its rights") from error


def _parse(path: Path, line: int, source: str) -> dict[str, object]:
    try:
        value = json.loads(source)
    except (ValueError, RecursionError) as error:
        problem = error.msg if isinstance(error, json.JSONDecodeError) else "it cannot be parsed"
        raise EffaceError(f"{path}, line {line}: not valid JSON ({problem}); write one JSON object per line") from error
    if not isinstance(value, dict):
        raise EffaceError(f"{path}, line {line}: {_kind(value)}, not a JSON object; write one object per line")
    return value


def _kind(value: object) -> str:
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), "an object" if isinstance(value, dict) else "text")
