"""Write rows that are Python objects as JSON lines. No torch."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from efface.errors import EffaceError, summarize_error


def to_json_lines(purpose: str, rows: Any) -> str:
    """Write rows as JSON lines.

    Args:
        purpose: Name of the rows in messages.
        rows: An iterable of mappings, or a pandas data frame; values of numpy and pandas are converted to those of
            Python, and missing values to null.

    Returns:
        One line per row.

    Raises:
        EffaceError: If `rows` is anything else or empty, or a value cannot be written as JSON.
    """
    if hasattr(rows, "iterrows"):  # a data frame; iterating over it would give the names of its columns
        if not rows.columns.is_unique:
            raise EffaceError(f"{purpose} is a data frame with two columns of the same name; rename one of them")
        rows = rows.to_dict("records")
    if not isinstance(rows, Iterable):
        raise EffaceError(f"{purpose} is of type {type(rows).__name__}; give a path, hf:OWNER/NAME, or rows")
    lines = [_to_line(f"{purpose}: row {number}", row) for number, row in enumerate(rows, 1)]
    if not lines:
        raise EffaceError(f"{purpose} has no rows; give at least one")
    return "".join(f"{line}\n" for line in lines)


def _to_line(where: str, row: object) -> str:
    if not isinstance(row, Mapping):
        raise EffaceError(
            f"{where} is of type {type(row).__name__}; give mappings such as {{'question': ..., 'answer': ...}} or "
            "{'text': ...}"
        )
    cells = [f"{json.dumps(str(column))}: {_to_json(where, column, value)}" for column, value in row.items()]
    return f"{{{', '.join(cells)}}}"


def _to_json(where: str, column: object, value: object) -> str:
    try:
        text = json.dumps(_to_python(value), ensure_ascii=False, allow_nan=False, default=_date_to_json)
        return text.encode().decode()  # fails for half of a surrogate pair, which cannot be written to a file
    except (TypeError, ValueError) as error:
        raise EffaceError(
            f"{where}, column {str(column)!r}: cannot be written as JSON ({summarize_error(error)}); give text, "
            "numbers, lists and None, or leave the column out"
        ) from error


def _to_python(value: Any) -> object:
    """The value in Python's built-in types; None if it is missing."""
    if isinstance(value, Mapping):
        return {str(key): _to_python(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_to_python(each) for each in value]
    if hasattr(value, "tolist"):  # a numpy array or scalar
        return _to_python(value.tolist())
    return None if _is_missing(value) else value


def _is_missing(value: object) -> bool:
    """Whether this is NaN or a missing value of pandas, which may not be installed."""
    is_nan = isinstance(value, float) and math.isnan(value)
    return is_nan or type(value).__name__ in ("NAType", "NaTType")


def _date_to_json(value: object) -> str:
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__}")
