"""What files call their columns, and what is said where the names do not tell what a table holds. No torch."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping

from efface.data.readers.table import SourceRow, Table
from efface.errors import EffaceError

QUESTION_COLUMNS = ("question", "prompt", "instruction", "query", "input")
ANSWER_COLUMNS = ("answer", "completion", "output", "response")
"""What plain pairs, TRL, Alpaca, Dolly and others call them; the first that is there counts."""
TEXT_COLUMNS = ("text", "document", "content", "passage")
CONTEXT_COLUMNS = ("input", "context")
"""What an instruction of Alpaca or Dolly is about; it follows the instruction."""


def match_column(columns: Collection[str], name: str) -> str:
    """Return what a file calls our column `name`: in other capitals, if only one column is called so."""
    alike = [column for column in columns if column.lower() == name]
    return alike[0] if name not in columns and len(alike) == 1 else name


def first_column(row: SourceRow, names: Iterable[str]) -> str | None:
    """Return the first of these columns of ours that a row has, as the file spells it."""
    found = (match_column(row.values, name) for name in names)
    return next((column for column in found if row.has(column)), None)


def column_names(table: Table) -> list[str]:
    """Return every column that a row has, in order."""
    return list(dict.fromkeys(column for row in table.rows for column in row.values))


def reject_single_message(row: SourceRow) -> None:
    """Raise `EffaceError` for a row that is one message of a conversation, and would be read as a text."""
    for keys in (("role", "content"), ("from", "value")):
        if all(match_column(row.values, key) in row.values for key in keys):
            problem = f"the columns {' and '.join(keys)} make the row one message of a conversation"
            raise row.refusal(problem, 'wrap the messages of a conversation into one row as {"messages": [...]}')


def unknown_columns_error(table: Table, given: Mapping[str, str], setting: str) -> EffaceError:
    """Return the error about columns that do not tell what they hold, with the settings that would.

    `given`: our names of columns -> the file's, as far as the user gave them; `setting`: such as `data.forget`.
    """
    question = given.get("question") or first_column(table.rows[0], QUESTION_COLUMNS)
    answer = given.get("answer") or first_column(table.rows[0], ANSWER_COLUMNS)
    listed = ", ".join(column_names(table)) or "none"
    if question or answer:
        there, lacking = ("question", "answer") if question else ("answer", "question")
        return EffaceError(
            f"{table.name} has a column for the {there} ({question or answer}), but the names of the others do not "
            f"tell the {lacking} (columns: {listed}); give "
            f"{setting}.columns.{lacking}={_likely(table, given, lacking)}"
        )
    question, answer, messages, text = (
        f"{setting}.columns.{name}={_likely(table, given, name)}" for name in ("question", "answer", "messages", "text")
    )
    return EffaceError(
        f"{table.name}: the names of its columns ({listed}) do not tell what they hold; give {question} and {answer}, "
        f"or {messages} for conversations, or {text} for documents"
    )


def _likely(table: Table, given: Mapping[str, str], name: str) -> str:
    """The column that may be meant, down to the text in it; NAME where none is alike."""
    columns = [column for column in column_names(table) if column not in given.values()]
    if name == "answer" and {"chosen", "rejected"} <= set(columns):  # pairs for DPO
        return "chosen"
    close = difflib.get_close_matches(name, columns, n=1)
    if not close:
        return "NAME"
    if name == "messages":
        return close[0]
    paths = (_down_to_text(row.value(close[0]), close[0]) for row in table.rows)
    return next((path for path in paths if path is not None), close[0])


def _down_to_text(value: object, path: str) -> str | None:
    """The dotted path to the first text inside a value, such as `answers.text.0`."""
    if isinstance(value, str):
        return path
    if isinstance(value, list):
        inner: Iterable[tuple[object, object]] = enumerate(value[:1])
    elif isinstance(value, Mapping):
        inner = sorted(value.items(), key=lambda pair: pair[0] != "text")
    else:
        return None
    found = (_down_to_text(each, f"{path}.{key}") for key, each in inner)
    return next((each for each in found if each is not None), None)
