"""A user's own questions and answers, conversations and documents as a task. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from efface.data.config import DataConfig, FileConfig
from efface.data.passages import MIN_SCORED, to_continuation
from efface.data.readers.read import read_table
from efface.data.readers.row_types import RowSchema, detect_schema, ignored_columns, ignored_message_keys
from efface.data.readers.table import SourceRow, Table, read_rows
from efface.data.sources.refusals import load_refusals
from efface.data.subsets import exclude_items, forgotten_before_sets, remaining_retain, retain_evaluation_set
from efface.data.task_checks import check_task_items
from efface.errors import EffaceError
from efface.schema import EvaluationSet, Item, Task

Purpose = Literal["forget", "retain", "extra_retain"]

_PLACEHOLDERS = {"nan", "none", "null", "n/a", "-"}
"""What tools write where there is no answer; in any capitals."""


def load_files(config: DataConfig) -> Task:
    """Return the task that forgets what one file holds and keeps what another does, if there is one.

    Ids are `forget/` or `retain/`, the number of the line or row, and behind a further slash the number of the
    passage or turn where a row makes several. A passage is trained on whole, and scored by how it goes on from its
    first half. What is not read is named in a warning, and so are answers that are mere placeholders. Raises
    `EffaceError` naming file, line and column for whatever cannot be used.
    """
    forget = LoadedFile(config.forget, "forget", config.passage_length)
    earlier = [LoadedFile(each, "forget", config.passage_length) for each in config.forgotten_before]
    repeated = _forgotten_twice(forget, earlier)
    loaded, items = [forget, *earlier], tuple[Item, ...]()
    evaluation = [EvaluationSet(name="forget", items=forget.scored(), entailment_premise="output")]
    evaluation += forgotten_before_sets([each.scored() for each in earlier])
    if isinstance(config.retain, FileConfig):
        retain = LoadedFile(config.retain, "retain", config.passage_length)
        gone = [*earlier, forget] if config.retain_minus_forget else earlier
        items = remaining_retain(retain.items, [each.items for each in gone], name=retain.name)
        asked = [each.scored() for each in gone]
        evaluation.append(retain_evaluation_set(retain.scored(), asked, config.retain_evaluation, name=retain.name))
        loaded.append(retain)
    return check_task_items(
        Task(
            name="files",
            forget=forget.items,
            retain=items,
            evaluation=tuple(evaluation),
            refusals=load_refusals(),
            sources={each.name: each.sha256 for each in loaded},
            warnings=(*(warning for each in loaded for warning in each.warnings), *repeated),
        )
    )


def load_files_training_set(config: DataConfig) -> tuple[Item, ...]:
    """Return the items of the files to forget and to keep."""
    forget = LoadedFile(config.forget, "forget", config.passage_length).items
    if not isinstance(config.retain, FileConfig):
        return forget
    retain = LoadedFile(config.retain, "retain", config.passage_length).items
    return (*forget, *(exclude_items(retain, forget) if config.retain_minus_forget else retain))


class LoadedFile:
    """One file's items and what is to be said about the file."""

    def __init__(self, file: Any, purpose: Purpose, passage_length: int) -> None:
        """`file`: a `FileConfig`, as the settings have made sure."""
        setting = f"data.{purpose}"
        table = read_table(file, setting)
        shape = detect_schema(table, file.columns, setting)
        ignored = ignored_columns(table, shape)
        self.name, self.sha256 = table.name, table.sha256

        def items_of(row: SourceRow) -> tuple[Item, ...]:
            return shape.items(row, f"{purpose}/{row.number:04d}", passage_length)

        items = read_rows(table.rows, items_of)
        self.items = tuple(item for each in items for item in each)
        self.warnings: Sequence[str] = (
            *table.warnings,
            *([f"{table.name}: columns not read: {', '.join(ignored)}"] if ignored else []),
            *_unread_messages(table, shape),
            *_placeholders(table, items),
        )

    def scored(self) -> tuple[Item, ...]:
        """What is asked in an evaluation: questions as they are, passages for their second halves."""
        asked = (to_continuation(item) if item.passage else item for item in self.items)
        scored = tuple(item for item in asked if item is not None)
        if not scored:
            raise EffaceError(
                f"{self.name}: no passage is long enough to be scored; give at least one of {MIN_SCORED} characters"
            )
        return scored


def _forgotten_twice(forget: LoadedFile, earlier: Sequence[LoadedFile]) -> list[str]:
    """Warn of a request that repeats part of an earlier one; raise `EffaceError` where it repeats all of it."""
    before = [item for each in earlier for item in each.items]
    new = exclude_items(forget.items, before)
    if not new:
        raise EffaceError(f"{forget.name} holds nothing that was not forgotten before; remove this request")
    repeated = len(forget.items) - len(new)
    return [f"{forget.name}: {repeated:,} item(s) were forgotten by an earlier request"] if repeated else []


def _unread_messages(table: Table, shape: RowSchema) -> list[str]:
    keys = ignored_message_keys(table, shape)
    return [f"{table.name}: not read in its messages: {', '.join(keys)}"] if keys else []


def _placeholders(table: Table, items: Sequence[tuple[Item, ...]]) -> list[str]:
    """Warn of answers that say that there is none: `items` holds those of each row."""
    answers = ((row, item.answer) for row, made in zip(table.rows, items, strict=True) for item in made)
    found = [(row, answer) for row, answer in answers if answer.strip().lower() in _PLACEHOLDERS]
    if not found:
        return []
    row, answer = found[0]
    return [
        f"{table.name}: {len(found):,} answer(s) look like placeholders for none (first: {answer!r} in {row.unit} "
        f"{row.number}); remove the rows if they are"
    ]
