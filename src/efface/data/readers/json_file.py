"""Rows from JSON lines and from whole JSON documents. No torch."""

from __future__ import annotations

import json

from efface.data.readers.table import SourceRow, read_rows, type_name
from efface.errors import EffaceError

CONVERSATION_COLUMNS = ("messages", "conversations")
"""What chat data calls its list of messages: a lone object that has it is a row and no list of rows."""


def parse_json_lines(source: str, text: str) -> tuple[SourceRow, ...]:
    """Return one row per line that holds a JSON object; blank lines are passed over.

    Lines end at a line feed only, since texts may hold the other characters that Unicode calls line breaks.
    Raises `EffaceError` for a text without rows, and for a line that is no JSON object.
    """
    numbered = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
    rows = tuple(read_rows(numbered, lambda line: SourceRow(source, line[0], _line(source, *line), unit="line")))
    if not rows:
        raise EffaceError(f"{source} is empty; write one JSON object with a question and an answer per line")
    return rows


def parse_json(source: str, text: str) -> tuple[SourceRow, ...]:
    """Return the rows of a list of objects, of an object that holds one such list or a list a column, or of JSON lines.

    Raises `EffaceError` for anything else.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if _starts_with_a_whole_line(text):
            return parse_json_lines(source, text)
        raise _not_json(source, error) from error
    rows = tuple(_row(source, number, each) for number, each in enumerate(_rows_in(source, value), 1))
    if not rows:
        raise EffaceError(f"{source} is empty; write a list of objects, each with a question and an answer")
    return rows


def _row(source: str, number: int, value: object) -> SourceRow:
    if not isinstance(value, dict):
        raise EffaceError(f"{source}, row {number}: {type_name(value)}, not a JSON object; write a list of objects")
    return SourceRow(source, number, value)


def _rows_in(source: str, value: object) -> list[object]:
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise EffaceError(f"{source} holds {type_name(value)} and no rows; write a list of objects")
    lists = {
        key: inner
        for key, inner in value.items()
        if key.lower() not in CONVERSATION_COLUMNS
        and isinstance(inner, list)
        and any(isinstance(row, dict) for row in inner)
    }
    if len(lists) > 1:
        raise EffaceError(f"{source} holds several lists of rows ({', '.join(lists)}); write each to a file of its own")
    if lists:
        return next(iter(lists.values()))
    by_column = all(
        isinstance(each, list) and not any(isinstance(one, dict) for one in each) for each in value.values()
    )
    return _by_row(source, value) if value and by_column else [value]


def _by_row(source: str, columns: dict[str, list[object]]) -> list[object]:
    """Turn columns, each a list, into rows."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise EffaceError(f"{source}: its columns hold lists of different lengths ({shown}); make them as long")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def detect_json_suffix(text: str) -> str | None:
    """Return the ending of the format, `.jsonl` or `.json`, of a text that is JSON though its name does not say so."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    if _starts_with_a_whole_line(text):
        return ".jsonl"
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return ".json"


def _starts_with_a_whole_line(text: str) -> bool:
    try:
        return isinstance(json.loads(text.lstrip().partition("\n")[0]), dict)
    except (ValueError, RecursionError):
        return not text.strip()


def _line(source: str, number: int, line: str) -> dict[str, object]:
    where = f"{source}, line {number}"
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        problem = error.msg if isinstance(error, json.JSONDecodeError) else "it cannot be parsed"
        raise EffaceError(f"{where}: not valid JSON ({problem}); write one JSON object per line") from error
    if not isinstance(value, dict):
        raise EffaceError(f"{where}: {type_name(value)}, not a JSON object; write one object per line")
    return value


def _not_json(source: str, error: Exception) -> EffaceError:
    if isinstance(error, json.JSONDecodeError):
        return EffaceError(f"{source}, line {error.lineno}: not valid JSON ({error.msg}); correct it there")
    return EffaceError(f"{source}: not valid JSON (it cannot be parsed); write a list of objects")
