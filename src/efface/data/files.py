"""A user's own questions and answers, conversations and documents as a task. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from efface.data.checks import checked
from efface.data.config import FileConfig
from efface.data.passages import MIN_SCORED, continuation
from efface.data.readers import read_table
from efface.data.refusals import load_refusals
from efface.data.rows import Row, Table, read_each
from efface.data.selection import evenly_spread
from efface.data.shapes import Shape, find_shape, ignored_columns, ignored_keys
from efface.errors import EffaceError
from efface.schema import EvaluationSet, Item, Task

Purpose = Literal["forget", "retain"]

_PLACEHOLDERS = {"nan", "none", "null", "n/a", "-"}
"""What tools write where there is no answer; in any capitals."""


def load_files(forget: FileConfig, retain: FileConfig | None, *, passage_length: int, retain_evaluation: int) -> Task:
    """Return the task that forgets what one file holds and keeps what the other does, if there is another.

    Ids are `forget/` or `retain/`, the number of the line or row, and behind a further slash the number of the
    passage or turn where a row makes several. A passage is trained on whole, and scored by how it goes on from its
    first half. `passage_length` is in characters. What is not read is named in a warning, and so are answers that are
    mere placeholders. Raises `EffaceError` naming file, line and column for whatever cannot be used.
    """
    forgotten = _Loaded(forget, "forget", passage_length)
    kept = _Loaded(retain, "retain", passage_length) if retain else None
    loaded = [forgotten, *([kept] if kept else [])]
    evaluation = [EvaluationSet(name="forget", items=forgotten.scored(), entailment_premise="output")]
    if kept:
        items = evenly_spread(kept.scored(), retain_evaluation)
        evaluation.append(EvaluationSet(name="retain", items=items, entailment_premise="answer"))
    return checked(
        Task(
            name="files",
            forget=forgotten.items,
            retain=kept.items if kept else (),
            evaluation=tuple(evaluation),
            refusals=load_refusals(),
            sources={each.name: each.sha256 for each in loaded},
            warnings=tuple(warning for each in loaded for warning in each.warnings),
        )
    )


def load_files_training_set(forget: FileConfig, retain: FileConfig | None, *, passage_length: int) -> tuple[Item, ...]:
    """Return the items of both files."""
    kept = _Loaded(retain, "retain", passage_length).items if retain else ()
    return (*_Loaded(forget, "forget", passage_length).items, *kept)


class _Loaded:
    """One file's items and what is to be said about the file."""

    def __init__(self, file: FileConfig, purpose: Purpose, passage_length: int) -> None:
        setting = f"data.{purpose}"
        table = read_table(file, setting)
        shape = find_shape(table, file.columns, setting)
        ignored = ignored_columns(table, shape)
        self.name, self.sha256 = table.name, table.sha256

        def items_of(row: Row) -> tuple[Item, ...]:
            return shape.items(row, f"{purpose}/{row.number:04d}", passage_length)

        items = read_each(table.rows, items_of)
        self.items = tuple(item for each in items for item in each)
        self.warnings: Sequence[str] = (
            *table.warnings,
            *([f"{table.name}: columns not read: {', '.join(ignored)}"] if ignored else []),
            *_unread_messages(table, shape),
            *_placeholders(table, items),
        )

    def scored(self) -> tuple[Item, ...]:
        """What is asked in an evaluation: questions as they are, passages for their second halves."""
        asked = (continuation(item) if item.passage else item for item in self.items)
        scored = tuple(item for item in asked if item is not None)
        if not scored:
            raise EffaceError(
                f"{self.name}: no passage is long enough to be scored; give at least one of {MIN_SCORED} characters"
            )
        return scored


def _unread_messages(table: Table, shape: Shape) -> list[str]:
    keys = ignored_keys(table, shape)
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
