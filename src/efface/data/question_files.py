"""Files of questions with correct answers, and files of the answers that a model gives to them. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from efface.data.config import FileConfig
from efface.data.file_settings import ColumnsConfig
from efface.data.readers.columns import ANSWER_COLUMNS, column_names, first_column, match_column
from efface.data.readers.python_rows import to_json_lines
from efface.data.readers.read import read_table
from efface.data.readers.row_types import detect_schema, ignored_columns
from efface.data.readers.table import SourceRow, SourceTable, read_rows
from efface.errors import EffaceError
from efface.schema import Item

QUESTIONS_SETTING = "questions"
"""The setting of a question file, for error messages."""


@dataclass(frozen=True)
class FileQuestion:
    """One question; the `scored_answer` of its item is the correct answer."""

    item: Item
    kind: str
    """The value of the column `kind`: what the question is about, such as `cities`; blank if unknown."""
    other_columns: Mapping[str, object] = field(default_factory=dict)
    """Columns of the row that efface does not read."""


@dataclass(frozen=True)
class QuestionFile:
    """All questions of one source; at least one."""

    source: str
    """Path of the file, or a description of another source."""
    sha256: str
    questions: tuple[FileQuestion, ...]
    warnings: tuple[str, ...] = ()


def load_questions(file: FileConfig) -> QuestionFile:
    """Read questions with their answers.

    Args:
        file: The file. Without a column of answers, `golden_answer` is the answer. An optional column `kind` says what
            a question is about.

    Returns:
        The questions in order.

    Raises:
        EffaceError: If the file cannot be read or does not contain questions with answers; the message names file, line
            and column.
    """
    table = read_table(file, QUESTIONS_SETTING)
    schema = detect_schema(table, _resolve_columns(table, file.columns), QUESTIONS_SETTING)
    if schema.row_type != "question":
        raise EffaceError(
            f"{table.name} contains {schema.row_type}s instead of questions; give a file with the columns question and "
            "answer"
        )
    others = ignored_columns(table, schema)
    kind_column = match_column(column_names(table), "kind")

    def to_question(row: SourceRow) -> FileQuestion:
        [item] = schema.items(row, f"question/{row.number:04d}", passage_length=1)
        kind = row.text_or_blank(kind_column).strip()
        return FileQuestion(item, kind, {column: row.value(column) for column in others if row.has(column)})

    return QuestionFile(table.name, table.sha256, tuple(read_rows(table.rows, to_question)), table.warnings)


def answers_to_json_lines(answers: Iterable[tuple[FileQuestion, str]], columns: Iterable[str] | None = None) -> str:
    """Write questions with a model's answers in the format of the real-world benchmark.

    Args:
        answers: Each question with the model's answer.
        columns: The columns to write; None for all.

    Returns:
        JSON lines, in which `answer` is the model's answer and `golden_answer` the correct one.

    Raises:
        EffaceError: If a value cannot be written as JSON.
    """
    rows = [_to_row(question, answer) for question, answer in answers]
    if columns is not None:
        chosen = set(columns)
        rows = [{column: value for column, value in row.items() if column in chosen} for row in rows]
    return to_json_lines("answers", rows)


def alternatives_to_json_lines(questions: Iterable[FileQuestion]) -> str:
    """Write questions with their answers and alternate answers.

    Args:
        questions: Items with `alternate_answers`.

    Returns:
        JSON lines that can be a forget set.

    Raises:
        EffaceError: If a value cannot be written as JSON.
    """
    return to_json_lines("alternatives", [_to_row(each, each.item.answer) for each in questions])


def _resolve_columns(table: SourceTable, given: ColumnsConfig) -> ColumnsConfig:
    """The columns that the user named, with `golden_answer` as the answer if the table has no other."""
    names = column_names(table)
    golden = given.golden_answer or match_column(names, "golden_answer")
    if given.answer or first_column(table.rows[0], ANSWER_COLUMNS) or golden not in names:
        return given
    return given.model_copy(update={"answer": golden})


def _to_row(question: FileQuestion, answer: str) -> dict[str, object]:
    item = question.item
    turns = [turn.model_dump() for turn in item.history]
    values = {
        "name": item.entity,
        "question": [*turns, {"role": "user", "content": item.question}] if turns else item.question,
        "answer": answer,
        "golden_answer": item.scored_answer,
        "original_answer": item.original_answer,
        "paraphrased_answer": item.paraphrased_answer,
        "perturbed_answer": list(item.perturbed_answers) or None,
        "alternate_answers": list(item.alternate_answers) or None,
        "paraphrased_question": item.paraphrased_question,
        "key_fact": item.key_fact,
    }
    row = {column: value for column, value in values.items() if value is not None}
    return row | {column: value for column, value in question.other_columns.items() if column not in values}
