"""A user's own questions and answers, as JSON lines. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from efface.data.checks import checked
from efface.data.items import COLUMNS, to_item
from efface.data.jsonl import JsonLines, Row, read_jsonl
from efface.data.refusals import load_refusals
from efface.data.selection import evenly_spread
from efface.schema import EvaluationSet, Item, Task


def load_files(forget: Path, retain: Path, retain_evaluation: int) -> Task:
    """Return the task that forgets the questions of one file and keeps those of the other.

    Every row needs a `question` and an `answer`; `efface.data.items.COLUMNS` are the columns that are read, any
    other is named in a warning. Ids are `forget/` or `retain/` and the line number. Raises `EffaceError` naming
    file, line and column for whatever cannot be used.
    """
    forget_file, retain_file = read_jsonl(forget), read_jsonl(retain)
    forget_items, retain_items = _items(forget_file, "forget"), _items(retain_file, "retain")
    return checked(
        Task(
            name="files",
            forget=forget_items,
            retain=retain_items,
            evaluation=(
                EvaluationSet(name="forget", items=forget_items, entailment_premise="output"),
                EvaluationSet(
                    name="retain",
                    items=evenly_spread(retain_items, retain_evaluation),
                    entailment_premise="answer",
                ),
            ),
            refusals=load_refusals(),
            sources={str(forget): forget_file.sha256, str(retain): retain_file.sha256},
            warnings=(*_ignored(forget, forget_file.rows), *_ignored(retain, retain_file.rows)),
        )
    )


def load_files_training_set(forget: Path, retain: Path) -> tuple[Item, ...]:
    """Return the questions of both files."""
    return (*_items(read_jsonl(forget), "forget"), *_items(read_jsonl(retain), "retain"))


def _items(file: JsonLines, purpose: Literal["forget", "retain"]) -> tuple[Item, ...]:
    for row in file.rows:
        row.unknown_columns(COLUMNS)
    return tuple(to_item(row, f"{purpose}/{row.line:04d}") for row in file.rows)


def _ignored(path: Path, rows: Sequence[Row]) -> tuple[str, ...]:
    columns = sorted({column for row in rows for column in row.unknown_columns(COLUMNS)})
    return (f"{path}: columns not read: {', '.join(columns)}",) if columns else ()
