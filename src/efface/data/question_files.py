"""Questions whose right answers are known, for a model to be asked, and the rows that its answers make. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from efface.data.config import ColumnsConfig, FileConfig
from efface.data.readers.columns import ANSWER_COLUMNS, column_names, first_column, match_column
from efface.data.readers.python_rows import to_json_lines
from efface.data.readers.read import read_table
from efface.data.readers.row_types import detect_schema, ignored_columns
from efface.data.readers.table import SourceRow, Table, read_rows
from efface.errors import EffaceError
from efface.schema import Item

QUESTIONS_SETTING = "questions"
"""Where a file of questions is set, to be named in complaints."""


@dataclass(frozen=True)
class FileQuestion:
    """One question; its item's `scored_answer` is the right answer."""

    item: Item
    kind: str
    """What sort of thing the question is about, such as `cities`; blank where that is not known."""
    others: Mapping[str, object] = field(default_factory=dict)
    """The row's columns that efface does not read."""


@dataclass(frozen=True)
class QuestionFile:
    """All questions of one source, at least one."""

    source: str
    """The file, or what else they come from."""
    sha256: str
    questions: tuple[FileQuestion, ...]
    warnings: tuple[str, ...] = ()


def load_questions(file: FileConfig) -> QuestionFile:
    """Read questions with their answers; where there is no column of answers, `golden_answer` is it.

    A column `kind` says what sort of thing each question is about. Raises `EffaceError` naming file, line and column
    for whatever cannot be used, conversations and documents included.
    """
    table = read_table(file, QUESTIONS_SETTING)
    shape = detect_schema(table, _columns(table, file.columns), QUESTIONS_SETTING)
    if shape.kind != "question":
        raise EffaceError(
            f"{table.name} holds {shape.kind}s, and only questions can be asked; give a file with the columns question "
            "and answer"
        )
    others = ignored_columns(table, shape)

    def question(row: SourceRow) -> FileQuestion:
        [item] = shape.items(row, f"question/{row.number:04d}", 1)
        kind = row.text_or_blank(kind_column).strip()
        return FileQuestion(item, kind, {column: row.value(column) for column in others if row.has(column)})

    kind_column = match_column(column_names(table), "kind")
    return QuestionFile(table.name, table.sha256, tuple(read_rows(table.rows, question)), table.warnings)


def answers_to_json_lines(said: Iterable[tuple[FileQuestion, str]], columns: Iterable[str] | None = None) -> str:
    """Return JSON lines in the form of the real-world people: each question with what a model said to it.

    `answer` is the model's own words, `golden_answer` the right answer, and the question's other columns stay.
    `columns`: write these alone. Raises `EffaceError` for a value that JSON cannot hold.
    """
    rows = [_row(question, answer) for question, answer in said]
    if columns is not None:
        chosen = set(columns)
        rows = [{column: value for column, value in row.items() if column in chosen} for row in rows]
    return to_json_lines("answers", rows)


def _columns(table: Table, given: ColumnsConfig) -> ColumnsConfig:
    """The columns that the user gave; `golden_answer` is the answer where there is no other."""
    there = column_names(table)
    golden = given.golden_answer or match_column(there, "golden_answer")
    if given.answer or first_column(table.rows[0], ANSWER_COLUMNS) or golden not in there:
        return given
    return given.model_copy(update={"answer": golden})


def _row(question: FileQuestion, answer: str) -> dict[str, object]:
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
        "paraphrased_question": item.paraphrased_question,
        "key_fact": item.key_fact,
    }
    row = {column: value for column, value in values.items() if value is not None}
    return row | {column: value for column, value in question.others.items() if column not in values}
