"""What the rows of a table are: questions and answers, conversations or documents. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from efface.data.config import ColumnsConfig
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
from efface.data.readers.table import SourceRow, Table
from efface.errors import EffaceError, suggest
from efface.schema import Item, Prompt, Turn

RowType = Literal["question", "conversation", "document"]

_ROW_TYPES: dict[str, RowType] = {
    "question": "question",
    "answer": "question",
    "messages": "conversation",
    "text": "document",
}
"""Which of our names decide the shape when they are given."""
_READERS: dict[RowType, tuple[str, ...]] = {
    "conversation": ("messages", "system"),
    "question": ("question", "answer", "system", *OPTIONAL_COLUMNS),
    "document": ("text",),
}
"""Our names of the columns that each shape reads."""


@dataclass(frozen=True)
class RowSchema:
    """How a table's rows become items."""

    kind: RowType
    names: Mapping[str, str]
    """Our name of a column -> the file's."""

    def items(self, row: SourceRow, id: str, passage_length: int) -> tuple[Item, ...]:
        """Return the row as items called `id`, or `id`/1, `id`/2 and so on where there are several."""
        match self.kind:
            case "document":
                texts = split_passages(row.text(self.names["text"]), passage_length)
                return tuple(
                    Item(id=name, question="", answer=text, passage=True)
                    for name, text in zip(_ids(id, len(texts)), texts, strict=True)
                )
            case "conversation":
                column = self.names["messages"]
                messages = read_messages(row, column)
                before = _system(row, self.names["system"], tuple(message.turn for message in messages))
                found = prompt_answer_pairs(row, column, messages, before)
                return tuple(
                    Item(id=name, question=prompt.question, history=prompt.history, answer=answer)
                    for name, (prompt, answer) in zip(_ids(id, len(found)), found, strict=True)
                )
            case "question":
                return (build_item(row, id, _prompt(row, self.names), _answer(row, self.names["answer"]), self.names),)


def detect_schema(table: Table, columns: ColumnsConfig, setting: str) -> RowSchema:
    """Return the shape that the given columns, else the names in the first row, tell; in whatever capitals.

    `setting`: where `columns` can be set, such as `data.forget`, to be named in complaints. Raises `EffaceError` for
    a column that no row has, and where the names do not tell the shape.
    """
    given: dict[str, str] = columns.model_dump(exclude_none=True)
    _check_given(table, given, setting)
    first = table.rows[0]
    chosen = next((_ROW_TYPES[name] for name in given if name in _ROW_TYPES), None)
    for kind in [chosen] if chosen else _READERS:
        if found := _DECISIVE[kind](first, given):
            if foreign := [name for name in given if name not in _READERS[kind]]:
                problem = f"{setting}.columns.{foreign[0]}={given[foreign[0]]} means nothing for a {kind}"
                raise EffaceError(f"{problem}, whose columns are {', '.join(_READERS[kind])}: remove it")
            there = column_names(table)
            return RowSchema(kind, {name: match_column(there, name) for name in _READERS[kind]} | given | found)
    raise unknown_columns_error(table, given, setting)


def ignored_columns(table: Table, shape: RowSchema) -> list[str]:
    """Return the columns that the shape does not read, sorted.

    Raises `EffaceError` for one that looks like a misspelled one, if the user can rename it.
    """
    read = shape.names.values()
    known = {column if column in table.rows[0].values else column.partition(".")[0] for column in read}
    if table.is_published:
        return sorted({column for row in table.rows for column in row.values} - known)
    return sorted({column for row in table.rows for column in row.unknown_columns(known)})


def ignored_message_keys(table: Table, shape: RowSchema) -> list[str]:
    """Return the keys of messages that hold text and are not read, sorted."""
    columns = [shape.names[name] for name in ("messages", "question", "answer") if name in shape.names]
    values = (row.value(column) for row in table.rows for column in columns)
    return sorted({key for value in values for key in ignored_text_keys(value)})


def _check_given(table: Table, given: Mapping[str, str], setting: str) -> None:
    for name, column in given.items():
        if not any(row.has(column) for row in table.rows):
            problem = f"{setting}.columns.{name}={column}: {table.name} has no such column"
            raise EffaceError(f"{problem}; {suggest(column, column_names(table))}")
    if "question" in given and given["question"] == given.get("answer"):
        column = given["question"]
        raise EffaceError(f"{setting}.columns.question and .answer are both {column}; give a column of its own to each")


def _conversation(row: SourceRow, given: Mapping[str, str]) -> dict[str, str] | None:
    column = given.get("messages") or first_column(row, CONVERSATION_COLUMNS)
    return {"messages": column} if column else None


def _document(row: SourceRow, given: Mapping[str, str]) -> dict[str, str] | None:
    column = given.get("text") or first_column(row, TEXT_COLUMNS)
    if "text" not in given and (column is None or column.lower() == "content"):
        reject_single_message(row)
    return {"text": column} if column else None


def _question(row: SourceRow, given: Mapping[str, str]) -> dict[str, str] | None:
    question = given.get("question") or first_column(
        row, (name for name in QUESTION_COLUMNS if name != given.get("answer"))
    )
    answer = given.get("answer") or first_column(
        row, (name for name in ANSWER_COLUMNS if name != given.get("question"))
    )
    if not question or not answer:
        return None
    about = first_column(row, CONTEXT_COLUMNS) if question.lower() == "instruction" else None
    return {"question": question, "answer": answer} | ({"input": about} if about else {})


_DECISIVE: dict[RowType, Callable[[SourceRow, Mapping[str, str]], dict[str, str] | None]] = {
    "conversation": _conversation,
    "question": _question,
    "document": _document,
}
"""Return the columns that make a row one of this shape, by our names; None where they are not there."""


def _prompt(row: SourceRow, names: Mapping[str, str]) -> Prompt:
    column = names["question"]
    if _holds_messages(row, column):
        turns = tuple(message.turn for message in read_messages(row, column))
        if not turns or turns[-1].role != "user":
            raise row.refusal(f"the last message of column {column!r} is not the user's", "end it with the question")
        return Prompt(turns[-1].content, (*_system(row, names["system"], turns), *turns[:-1]))
    question = row.text(column)
    if "input" in names and (context := row.text_or_blank(names["input"])):
        question = f"{question}\n\n{context}"
    return Prompt(question, _system(row, names["system"], ()))


def _answer(row: SourceRow, column: str) -> str:
    if not _holds_messages(row, column):
        return row.text(column)
    turns = [message.turn for message in read_messages(row, column)]
    if [turn.role for turn in turns] != ["assistant"]:
        problem = f"column {column!r} must hold one message, the assistant's"
        raise row.refusal(problem, "give a column of whole conversations as columns.messages")
    return turns[0].content


def _holds_messages(row: SourceRow, column: str) -> bool:
    value = row.value(column)
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _system(row: SourceRow, column: str, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Return the system prompt that stands in a column of its own, if there is one; it comes before the turns."""
    system = row.text_or_blank(column)
    if not system:
        return ()
    if turns and turns[0].role == "system":
        raise row.refusal(f"column {column!r} and the first message are both system prompts", "remove one of them")
    return (Turn(role="system", content=system),)


def _ids(id: str, count: int) -> list[str]:
    return [id] if count == 1 else [f"{id}/{number}" for number in range(1, count + 1)]
