"""Column names of common dataset formats, and errors about columns whose names are not recognized. No torch."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping

from efface.data.readers.table import SourceRow, SourceTable
from efface.errors import EffaceError

QUESTION_COLUMNS = ("question", "prompt", "instruction", "query", "input")
"""Names in question-answer files, TRL, Alpaca, Dolly and others; the first one that a row has is used."""
ANSWER_COLUMNS = ("answer", "completion", "output", "response")
TEXT_COLUMNS = ("text", "document", "content", "passage")
_LISTED = 20
"""The most columns in a message."""
CONTEXT_COLUMNS = ("input", "context")
"""The input of an Alpaca or Dolly instruction; it is appended to the instruction."""


def match_column(columns: Collection[str], name: str) -> str:
    """Match a column name ignoring case.

    Args:
        columns: The columns of a file.
        name: Lower-case name.

    Returns:
        The only column that differs from `name` in case alone, otherwise `name`.
    """
    matches = [column for column in columns if column.lower() == name]
    return matches[0] if name not in columns and len(matches) == 1 else name


def first_column(row: SourceRow, names: Iterable[str]) -> str | None:
    """Find the first of several columns that a row has.

    Args:
        row: The row.
        names: Lower-case names in order of preference.

    Returns:
        The column's name in the file; None if the row has none of them.
    """
    columns = (match_column(row.values, name) for name in names)
    return next((column for column in columns if row.has(column)), None)


def column_names(table: SourceTable) -> list[str]:
    """Every column of any row, in order."""
    return list(dict.fromkeys(column for row in table.rows for column in row.values))


def reject_single_message(row: SourceRow) -> None:
    """Reject a row that is a single message of a conversation instead of a document.

    Args:
        row: A row that would be read as a document.

    Raises:
        EffaceError: If its columns are those of a message.
    """
    for keys in (("role", "content"), ("from", "value")):
        if all(match_column(row.values, key) in row.values for key in keys):
            problem = f"the columns {' and '.join(keys)} make the row one message of a conversation"
            raise row.error(problem, 'wrap the messages of a conversation into one row as {"messages": [...]}')


def unknown_columns_error(table: SourceTable, given: Mapping[str, str], setting: str) -> EffaceError:
    """Build the error about a table whose columns are not recognized.

    Args:
        table: The table.
        given: Column name of efface -> name in the file, as far as the user gave them.
        setting: The setting of the file, such as `data.forget`.

    Returns:
        The error, whose message names the settings that resolve it.
    """
    question = given.get("question") or first_column(table.rows[0], QUESTION_COLUMNS)
    answer = given.get("answer") or first_column(table.rows[0], ANSWER_COLUMNS)
    names = column_names(table)
    listed = ", ".join([*names[:_LISTED], *(["..."] if len(names) > _LISTED else [])]) or "none"
    if question or answer:
        present, missing = ("question", "answer") if question else ("answer", "question")
        return EffaceError(
            f"{table.name} has a column for the {present} ({question or answer}) but none that is recognized as the "
            f"{missing} (columns: {listed}); give {setting}.columns.{missing}={_guess_column(table, given, missing)}"
        )
    question, answer, messages, text = (
        f"{setting}.columns.{name}={_guess_column(table, given, name)}"
        for name in ("question", "answer", "messages", "text")
    )
    return EffaceError(
        f"{table.name}: the names of its columns ({listed}) are not recognized; name them question and answer, or "
        f"give {question} and {answer}, or {messages} for conversations, or {text} for documents"
    )


def _guess_column(table: SourceTable, given: Mapping[str, str], name: str) -> str:
    """A column with a similar name, with the path to the text inside it; NAME if there is none."""
    columns = [column for column in column_names(table) if column not in given.values()]
    if name == "answer" and {"chosen", "rejected"} <= set(columns):  # pairs for DPO
        return "chosen"
    close = difflib.get_close_matches(name, columns, n=1)
    if not close:
        return "NAME"
    if name == "messages":
        return close[0]
    paths = (_path_to_text(row.value(close[0]), close[0]) for row in table.rows)
    return next((path for path in paths if path is not None), close[0])


def _path_to_text(value: object, path: str) -> str | None:
    """The dotted path to the first text inside a value, such as `answers.text.0`."""
    if isinstance(value, str):
        return path
    if isinstance(value, list):
        inner: Iterable[tuple[object, object]] = enumerate(value[:1])
    elif isinstance(value, Mapping):
        inner = sorted(value.items(), key=lambda pair: pair[0] != "text")
    else:
        return None
    paths = (_path_to_text(each, f"{path}.{key}") for key, each in inner)
    return next((each for each in paths if each is not None), None)
