"""Detect what the rows of a table are: questions with answers, conversations or documents. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from efface.data.file_settings import ColumnsConfig
from efface.data.items import OPTIONAL_COLUMNS, build_item
from efface.data.passages import split_passages
from efface.data.readers.columns import (
    ANSWER_COLUMNS,
    CONTEXT_COLUMNS,
    QUESTION_COLUMNS,
    TEXT_COLUMNS,
    column_names,
    first_column,
    match_column,
    reject_single_message,
    unknown_columns_error,
)
from efface.data.readers.conversations import ignored_text_keys, prompt_answer_pairs, read_messages
from efface.data.readers.json_file import CONVERSATION_COLUMNS
from efface.data.readers.table import SourceRow, SourceTable
from efface.errors import EffaceError, suggest
from efface.schema import Item, Prompt, Turn

RowType = Literal["question", "conversation", "document"]

_TYPE_OF_COLUMN: dict[str, RowType] = {
    "question": "question",
    "answer": "question",
    "messages": "conversation",
    "text": "document",
}
"""Columns that decide the type if the user names them."""
_COLUMNS: dict[RowType, tuple[str, ...]] = {
    "conversation": ("messages", "system"),
    "question": ("question", "answer", "system", *OPTIONAL_COLUMNS),
    "document": ("text",),
}
"""The columns that each type reads, in the order in which types are tried."""


@dataclass(frozen=True)
class RowSchema:
    """Type and columns of a table's rows."""

    row_type: RowType
    names: Mapping[str, str]
    """Name of a column -> its name in the file."""

    def items(self, row: SourceRow, id: str, passage_length: int) -> tuple[Item, ...]:
        """Convert a row.

        Args:
            row: The row.
            id: Id of the item; `id`/1, `id`/2 and so on if there are several.
            passage_length: Maximum number of characters of a document's passage.

        Returns:
            One item for a question, one per answer of a conversation, one per passage of a document.

        Raises:
            EffaceError: If a column cannot be used; the message names the row.
        """
        match self.row_type:
            case "document":
                texts = split_passages(row.text(self.names["text"]), passage_length)
                return tuple(
                    Item(id=item_id, question="", answer=text, passage=True)
                    for item_id, text in zip(_item_ids(id, len(texts)), texts, strict=True)
                )
            case "conversation":
                column = self.names["messages"]
                messages = read_messages(row, column)
                before = _system_turn(row, self.names["system"], tuple(message.turn for message in messages))
                pairs = prompt_answer_pairs(row, column, messages, before)
                return tuple(
                    Item(id=item_id, question=prompt.question, history=prompt.history, answer=answer)
                    for item_id, (prompt, answer) in zip(_item_ids(id, len(pairs)), pairs, strict=True)
                )
            case "question":
                prompt, answer = _read_prompt(row, self.names), _read_answer(row, self.names["answer"])
                return (build_item(row, id, prompt, answer, self.names),)


def detect_schema(table: SourceTable, columns: ColumnsConfig, setting: str) -> RowSchema:
    """Detect the type of a table's rows from the columns that the user named, otherwise from those of the first row.

    Args:
        table: The table.
        columns: The columns that the user named.
        setting: The setting of the file, such as `data.forget`, for error messages.

    Returns:
        Type and columns; names are matched ignoring case.

    Raises:
        EffaceError: If no row has a column that the user named, or the columns are not recognized.
    """
    given: dict[str, str] = columns.model_dump(exclude_none=True)
    _check_given_columns(table, given, setting)
    first_row = table.rows[0]
    chosen = next((_TYPE_OF_COLUMN[name] for name in given if name in _TYPE_OF_COLUMN), None)
    for row_type in [chosen] if chosen else _COLUMNS:
        if required := _REQUIRED_COLUMNS[row_type](first_row, given):
            if foreign := [name for name in given if name not in _COLUMNS[row_type]]:
                problem = f"{setting}.columns.{foreign[0]}={given[foreign[0]]} does not apply to a {row_type}"
                raise EffaceError(f"{problem}, whose columns are {', '.join(_COLUMNS[row_type])}: remove it")
            names = column_names(table)
            matched = {name: match_column(names, name) for name in _COLUMNS[row_type]}
            return RowSchema(row_type, matched | given | required)
    raise unknown_columns_error(table, given, setting)


def ignored_columns(table: SourceTable, schema: RowSchema) -> list[str]:
    """Find the columns that are not read.

    Args:
        table: The table.
        schema: Type and columns of its rows.

    Returns:
        The columns, sorted.

    Raises:
        EffaceError: If a column of a user's file looks like a misspelled one.
    """
    read = schema.names.values()
    known = {column if column in table.rows[0].values else column.partition(".")[0] for column in read}
    if table.is_published:
        return sorted({column for row in table.rows for column in row.values} - known)
    return sorted({column for row in table.rows for column in row.unknown_columns(known)})


def ignored_message_keys(table: SourceTable, schema: RowSchema) -> list[str]:
    """Find the keys of messages that contain text but are not read.

    Args:
        table: The table.
        schema: Type and columns of its rows.

    Returns:
        The keys, sorted.
    """
    columns = [schema.names[name] for name in ("messages", "question", "answer") if name in schema.names]
    values = (row.value(column) for row in table.rows for column in columns)
    return sorted({key for value in values for key in ignored_text_keys(value)})


def _check_given_columns(table: SourceTable, given: Mapping[str, str], setting: str) -> None:
    for name, column in given.items():
        if not any(row.has(column) for row in table.rows):
            problem = f"{setting}.columns.{name}={column}: {table.name} has no such column"
            raise EffaceError(f"{problem}; {suggest(column, column_names(table))}")
    if "question" in given and given["question"] == given.get("answer"):
        column = given["question"]
        raise EffaceError(f"{setting}.columns.question and .answer are both {column}; give a different column for each")


def _conversation_columns(row: SourceRow, given: Mapping[str, str]) -> dict[str, str] | None:
    column = given.get("messages") or first_column(row, CONVERSATION_COLUMNS)
    return {"messages": column} if column else None


def _document_columns(row: SourceRow, given: Mapping[str, str]) -> dict[str, str] | None:
    column = given.get("text") or first_column(row, TEXT_COLUMNS)
    if "text" not in given and (column is None or column.lower() == "content"):
        reject_single_message(row)
    return {"text": column} if column else None


def _question_columns(row: SourceRow, given: Mapping[str, str]) -> dict[str, str] | None:
    questions = (name for name in QUESTION_COLUMNS if name != given.get("answer"))
    question = given.get("question") or first_column(row, questions)
    answers = (name for name in ANSWER_COLUMNS if name != given.get("question"))
    answer = given.get("answer") or first_column(row, answers)
    if not question or not answer:
        return None
    context = first_column(row, CONTEXT_COLUMNS) if question.lower() == "instruction" else None
    return {"question": question, "answer": answer} | ({"input": context} if context else {})


_REQUIRED_COLUMNS: dict[RowType, Callable[[SourceRow, Mapping[str, str]], dict[str, str] | None]] = {
    "conversation": _conversation_columns,
    "question": _question_columns,
    "document": _document_columns,
}
"""Find the columns that make a row one of this type; None if the row does not have them."""


def _read_prompt(row: SourceRow, names: Mapping[str, str]) -> Prompt:
    column = names["question"]
    if _is_messages(row, column):
        turns = tuple(message.turn for message in read_messages(row, column))
        if not turns or turns[-1].role != "user":
            raise row.error(f"the last message of column {column!r} is not from the user", "end it with the question")
        return Prompt(turns[-1].content, (*_system_turn(row, names["system"], turns), *turns[:-1]))
    question = row.text(column)
    if "input" in names and (context := row.text_or_blank(names["input"])):
        question = f"{question}\n\n{context}"
    return Prompt(question, _system_turn(row, names["system"], ()))


def _read_answer(row: SourceRow, column: str) -> str:
    if not _is_messages(row, column):
        return row.text(column)
    turns = [message.turn for message in read_messages(row, column)]
    if [turn.role for turn in turns] != ["assistant"]:
        problem = f"column {column!r} must be one message from the assistant"
        raise row.error(problem, "give a column of whole conversations as columns.messages")
    return turns[0].content


def _is_messages(row: SourceRow, column: str) -> bool:
    value = row.value(column)
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _system_turn(row: SourceRow, column: str, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """The system prompt of a separate column, if there is one; it precedes the turns."""
    system = row.text_or_blank(column)
    if not system:
        return ()
    if turns and turns[0].role == "system":
        raise row.error(f"column {column!r} and the first message are both system prompts", "remove one of them")
    return (Turn(role="system", content=system),)


def _item_ids(id: str, count: int) -> list[str]:
    return [id] if count == 1 else [f"{id}/{number}" for number in range(1, count + 1)]
