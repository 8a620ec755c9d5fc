"""A user's questions and answers, conversations and documents as a task. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from efface.data.config import DataConfig, FileConfig
from efface.data.passages import MIN_SCORED, to_continuation
from efface.data.readers.read import read_table
from efface.data.readers.row_types import RowSchema, detect_schema, ignored_columns, ignored_message_keys
from efface.data.readers.table import SourceRow, SourceTable, read_rows
from efface.data.sources.refusals import load_refusals
from efface.data.subsets import exclude_items, forgotten_before_sets, remaining_retain, retain_evaluation_set
from efface.data.task_checks import check_task_items
from efface.errors import EffaceError
from efface.schema import EvaluationSet, Item, Task

Purpose = Literal["forget", "retain", "extra_retain", "holdout", "few_shot"]
"""The setting of a file, which is also the prefix of its items' ids."""

_PLACEHOLDERS = {"nan", "none", "null", "n/a", "-"}
"""What tools write for a missing answer, in lower case."""


@dataclass(frozen=True)
class LoadedFile:
    """The items of one file."""

    name: str
    """Name in messages and in `Task.sources`."""
    sha256: str
    items: tuple[Item, ...]
    warnings: tuple[str, ...]

    def scored_items(self) -> tuple[Item, ...]:
        """Prepare the items for evaluation.

        Returns:
            Questions unchanged, and passages with their second half as the answer, without those that are too short.

        Raises:
            EffaceError: If no passage is long enough.
        """
        candidates = (to_continuation(item) if item.passage else item for item in self.items)
        scored = tuple(item for item in candidates if item is not None)
        if not scored:
            raise EffaceError(
                f"{self.name}: no passage is long enough to be scored; give at least one of {MIN_SCORED} characters"
            )
        return scored


def load_files(config: DataConfig) -> Task:
    """Load the task of a user's forget and retain files.

    Ids are `forget/` or `retain/` and the number of the line or row, followed by the number of the passage or answer if
    a row has several. The model is trained on whole passages, and scored on the second half of each.

    Args:
        config: Settings with source=files.

    Returns:
        The task, with warnings about columns that are not read and answers that look like placeholders.

    Raises:
        EffaceError: If a file cannot be used; the message names file, line and column.
    """
    requests = [request for request in (*config.forgotten_before, config.forget) if isinstance(request, FileConfig)]
    *earlier, forget = (load_file(request, "forget", config.passage_length) for request in requests)
    repetition_warnings = _check_repetitions(forget, earlier)
    files, retain_items = [forget, *earlier], tuple[Item, ...]()
    evaluation = [EvaluationSet(name="forget", items=forget.scored_items(), entailment_premise="output")]
    evaluation += forgotten_before_sets([file.scored_items() for file in earlier])
    if isinstance(config.retain, FileConfig):
        retain = load_file(config.retain, "retain", config.passage_length)
        excluded = [*earlier, forget] if config.retain_minus_forget else earlier
        retain_items = remaining_retain(retain.items, [file.items for file in excluded], name=retain.name)
        excluded_scored = [file.scored_items() for file in excluded]
        evaluation.append(
            retain_evaluation_set(retain.scored_items(), excluded_scored, config.retain_evaluation, name=retain.name)
        )
        files.append(retain)
    return check_task_items(
        Task(
            name="files",
            forget=forget.items,
            retain=retain_items,
            evaluation=tuple(evaluation),
            refusals=load_refusals(),
            sources={file.name: file.sha256 for file in files},
            warnings=(*(warning for file in files for warning in file.warnings), *repetition_warnings),
        )
    )


def load_files_training_set(config: DataConfig) -> tuple[Item, ...]:
    """Load the items of the forget and the retain file.

    Args:
        config: Settings with source=files.

    Returns:
        The items of the forget file, then those of the retain file.

    Raises:
        EffaceError: If a file cannot be used; the message names file, line and column.
    """
    assert config.forget is not None, "required by the validators of DataConfig"
    forget = load_file(config.forget, "forget", config.passage_length).items
    if not isinstance(config.retain, FileConfig):
        return forget
    retain = load_file(config.retain, "retain", config.passage_length).items
    return (*forget, *(exclude_items(retain, forget) if config.retain_minus_forget else retain))


def load_file(file: FileConfig, purpose: Purpose, passage_length: int) -> LoadedFile:
    """Load one file.

    Args:
        file: The file.
        purpose: Its setting.
        passage_length: Maximum number of characters of a passage.

    Returns:
        Its items and warnings.

    Raises:
        EffaceError: If the file cannot be used; the message names file, line and column.
    """
    setting = f"data.{purpose}"
    table = read_table(file, setting)
    schema = detect_schema(table, file.columns, setting)
    ignored = ignored_columns(table, schema)

    def to_items(row: SourceRow) -> tuple[Item, ...]:
        return schema.items(row, f"{purpose}/{row.number:04d}", passage_length)

    items_by_row = read_rows(table.rows, to_items)
    return LoadedFile(
        name=table.name,
        sha256=table.sha256,
        items=tuple(item for items in items_by_row for item in items),
        warnings=(
            *table.warnings,
            *([f"{table.name}: columns not read: {', '.join(ignored)}"] if ignored else []),
            *_message_key_warnings(table, schema),
            *_placeholder_warnings(table, items_by_row),
        ),
    )


def _check_repetitions(forget: LoadedFile, earlier: Sequence[LoadedFile]) -> list[str]:
    """Warn about a request that repeats part of an earlier one; raise `EffaceError` if it repeats all of it."""
    forgotten = [item for file in earlier for item in file.items]
    new = exclude_items(forget.items, forgotten)
    if not new:
        raise EffaceError(f"{forget.name}: earlier requests forgot all of its items; remove this request")
    repeated = len(forget.items) - len(new)
    return [f"{forget.name}: {repeated:,} item(s) were forgotten by an earlier request"] if repeated else []


def _message_key_warnings(table: SourceTable, schema: RowSchema) -> list[str]:
    keys = ignored_message_keys(table, schema)
    return [f"{table.name}: keys of messages not read: {', '.join(keys)}"] if keys else []


def _placeholder_warnings(table: SourceTable, items_by_row: Sequence[tuple[Item, ...]]) -> list[str]:
    """Warn about answers that look like placeholders for a missing answer."""
    answers = ((row, item.answer) for row, items in zip(table.rows, items_by_row, strict=True) for item in items)
    placeholders = [(row, answer) for row, answer in answers if answer.strip().lower() in _PLACEHOLDERS]
    if not placeholders:
        return []
    row, answer = placeholders[0]
    return [
        f"{table.name}: {len(placeholders):,} answer(s) look like placeholders (first: {answer!r} in {row.unit} "
        f"{row.number}); remove the rows if they are"
    ]
