"""Read JSON lines and JSON documents. No torch."""

from __future__ import annotations

import json

from efface.data.readers.table import SourceRow, read_rows, type_name
from efface.errors import EffaceError

CONVERSATION_COLUMNS = ("messages", "conversations")
"""Names of a list of messages in chat data; an object with such a list is a row, not a list of rows."""


def parse_json_lines(source: str, text: str) -> tuple[SourceRow, ...]:
    """Parse JSON lines.

    Lines end only at a line feed, because texts may contain the other line breaks of Unicode.

    Args:
        source: Name of the file in messages.
        text: Content of the file.

    Returns:
        One row per line that is not blank.

    Raises:
        EffaceError: If there are no rows, or a line is not a JSON object.
    """
    numbered = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
    rows = tuple(read_rows(numbered, lambda line: SourceRow(source, line[0], _parse_line(source, *line), unit="line")))
    if not rows:
        raise EffaceError(f"{source} is empty; write one JSON object with a question and an answer per line")
    return rows


def parse_json(source: str, text: str) -> tuple[SourceRow, ...]:
    """Parse a JSON document, or JSON lines.

    Args:
        source: Name of the file in messages.
        text: A list of objects, an object that contains one such list or one list per column, or JSON lines.

    Returns:
        The rows.

    Raises:
        EffaceError: If the text is anything else.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        if _first_line_is_object(text):
            return parse_json_lines(source, text)
        raise _invalid_json_error(source, error) from error
    rows = tuple(_to_row(source, number, each) for number, each in enumerate(_find_rows(source, value), 1))
    if not rows:
        raise EffaceError(f"{source} is empty; write a list of objects, each with a question and an answer")
    return rows


def detect_json_suffix(text: str) -> str | None:
    """Detect JSON in a file that has another suffix.

    Args:
        text: Content of the file.

    Returns:
        `.jsonl` or `.json`; None if the text is not JSON.
    """
    if not text.lstrip().startswith(("{", "[")):
        return None
    if _first_line_is_object(text):
        return ".jsonl"
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return None
    return ".json"


def _to_row(source: str, number: int, value: object) -> SourceRow:
    if not isinstance(value, dict):
        raise EffaceError(f"{source}, row {number}: {type_name(value)}, not a JSON object; write a list of objects")
    return SourceRow(source, number, value)


def _find_rows(source: str, value: object) -> list[object]:
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        raise EffaceError(f"{source} contains {type_name(value)} and no rows; write a list of objects")
    lists = {
        key: inner
        for key, inner in value.items()
        if key.lower() not in CONVERSATION_COLUMNS
        and isinstance(inner, list)
        and any(isinstance(row, dict) for row in inner)
    }
    if len(lists) > 1:
        raise EffaceError(
            f"{source} contains several lists of rows ({', '.join(lists)}); write each to a separate file"
        )
    if lists:
        return next(iter(lists.values()))
    by_column = all(
        isinstance(column, list) and not any(isinstance(each, dict) for each in column) for column in value.values()
    )
    return _columns_to_rows(source, value) if value and by_column else [value]


def _columns_to_rows(source: str, columns: dict[str, list[object]]) -> list[object]:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
        raise EffaceError(f"{source}: its columns are lists of different lengths ({listed}); make them equally long")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _first_line_is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text.lstrip().partition("\n")[0]), dict)
    except (ValueError, RecursionError):
        return not text.strip()


def _parse_line(source: str, number: int, line: str) -> dict[str, object]:
    where = f"{source}, line {number}"
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        problem = error.msg if isinstance(error, json.JSONDecodeError) else "it cannot be parsed"
        raise EffaceError(f"{where}: not valid JSON ({problem}); write one JSON object per line") from error
    if not isinstance(value, dict):
        raise EffaceError(f"{where}: {type_name(value)}, not a JSON object; write one object per line")
    return value


def _invalid_json_error(source: str, error: Exception) -> EffaceError:
    if isinstance(error, json.JSONDecodeError):
        return EffaceError(f"{source}, line {error.lineno}: not valid JSON ({error.msg}); correct it there")
    return EffaceError(f"{source}: not valid JSON (it cannot be parsed); write a list of objects")
