"""Rows given as Python objects, as the JSON lines that a run keeps of them. No torch."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from efface.errors import EffaceError, summarize_error


def to_json_lines(purpose: str, rows: Any) -> str:
    """Return rows as JSON lines: an iterable of mappings, or a data frame of pandas.

    What numpy and pandas hold becomes what Python has for it, and missing values null. `purpose` names the rows in
    complaints. Raises `EffaceError` for anything else, for no rows, and for a column that JSON cannot hold.
    """
    if hasattr(rows, "iterrows"):  # a data frame, which iterates over the names of its columns
        if not rows.columns.is_unique:
            raise EffaceError(f"{purpose} is a data frame with two columns of one name; rename one of them")
        rows = rows.to_dict("records")
    if not isinstance(rows, Iterable):
        raise EffaceError(f"{purpose} is of type {type(rows).__name__}; give a path, hf:OWNER/NAME, or rows")
    lines = [_line(f"{purpose}: row {number}", row) for number, row in enumerate(rows, 1)]
    if not lines:
        raise EffaceError(f"{purpose} holds no rows; give one at least")
    return "".join(f"{line}\n" for line in lines)


def _line(where: str, row: object) -> str:
    if not isinstance(row, Mapping):
        raise EffaceError(
            f"{where} is of type {type(row).__name__}; give mappings such as {{'question': ..., 'answer': ...}} or "
            "{'text': ...}"
        )
    cells = [f"{json.dumps(str(column))}: {_cell(where, column, value)}" for column, value in row.items()]
    return f"{{{', '.join(cells)}}}"


def _cell(where: str, column: object, value: object) -> str:
    try:
        text = json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, default=_in_words)
        return text.encode().decode()  # half a surrogate pair does not fit into a file
    except (TypeError, ValueError) as error:
        raise EffaceError(
            f"{where}, column {str(column)!r}: cannot be written as JSON ({summarize_error(error)}); give text, numbers, lists "
            "and None, or leave the column out"
        ) from error


def _plain(value: Any) -> object:
    """The value in Python's own types; None for what is missing."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "tolist"):  # an array, or one number of it
        return _plain(value.tolist())
    return None if _is_missing(value) else value


def _is_missing(value: object) -> bool:
    """Say whether this is no number, or what pandas, which need not be installed, puts for no text or no date."""
    is_nan = isinstance(value, float) and math.isnan(value)
    return is_nan or type(value).__name__ in ("NAType", "NaTType")


def _in_words(value: object) -> str:
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__}")
