"""Documents of a corpus as items to train on, and as a set of continuations. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from efface.data.config import CORPORA, DataConfig
from efface.data.passages import split_passages, to_continuation
from efface.data.readers.table import SourceRow, read_rows
from efface.errors import EffaceError
from efface.schema import EvaluationSet, Item
from efface.spacing import evenly_spaced


def chunk_tokens(config: DataConfig) -> int | None:
    """The most tokens of the chunks that the data is trained on in; None for data that is not cut into chunks."""
    return config.chunk_tokens if config.source in CORPORA else None


def documents(rows: Iterable[SourceRow], prefix: str, *, min_length: int = 1) -> tuple[Item, ...]:
    """Convert rows with a column `text`.

    Args:
        rows: The rows of one file.
        prefix: The first part of each id, before the row's number.
        min_length: Shorter documents, in characters, are left out.

    Returns:
        The documents, each a passage.

    Raises:
        EffaceError: If a row has no text, or no document is left.
    """
    all_rows = list(rows)

    def check_column(row: SourceRow) -> str:
        return row.text_or_blank("text") if row.has("text") else row.text("text")

    texts = read_rows(all_rows, check_column)
    kept = [(row, text) for row, text in zip(all_rows, texts, strict=True) if len(text.strip()) >= min_length]
    if not kept:
        source = all_rows[0].source if all_rows else prefix
        raise EffaceError(f"{source}: no text has {min_length} character(s) or more; download the file again")
    return tuple(Item(id=f"{prefix}/{row.number:04d}", question="", answer=text, passage=True) for row, text in kept)


def continuation_set(
    name: str, items: Sequence[Item], count: int, length: int, premise: Literal["output", "answer"]
) -> EvaluationSet:
    """Build an evaluation set in which the model continues the beginnings of documents.

    Args:
        name: Name of the set.
        items: The documents.
        count: Maximum number of documents, evenly spaced.
        length: Maximum number of characters of the passage at the beginning of each.
        premise: The premise of the entailment score.

    Returns:
        The set: the first half of each passage as the question, the second as the answer.

    Raises:
        EffaceError: If no document is long enough.
    """
    beginnings = (
        item.model_copy(update={"answer": split_passages(item.answer, length)[0]})
        for item in evenly_spaced(items, count)
    )
    scored = tuple(item for each in beginnings if (item := to_continuation(each)) is not None)
    if not scored:
        raise EffaceError(f"the set {name}: no document is long enough to be scored; raise data.passage_length")
    return EvaluationSet(name=name, items=scored, entailment_premise=premise)
