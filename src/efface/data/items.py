"""Convert a row with named columns to an `Item`. No torch."""

from __future__ import annotations

from collections.abc import Mapping

from efface.data.readers.table import SourceRow
from efface.schema import Item, Prompt

OPTIONAL_COLUMNS = (
    "golden_answer",
    "original_answer",
    "paraphrased_question",
    "paraphrased_answer",
    "perturbed_answer",
    "perturbed_answers",
    "alternate",
    "alternate_answers",
    "key_fact",
    "name",
)
"""Columns that are read in addition to a question and its answer; `name` is the entity that the question is about."""


def to_item(row: SourceRow, id: str) -> Item:
    """Convert a row with the columns `question` and `answer`.

    Args:
        row: A row whose columns have the names that efface uses.
        id: Id of the item.

    Returns:
        The item.

    Raises:
        EffaceError: If a column is missing, blank or not text, or if the key fact does not occur in the answer.
    """
    names = {name: name for name in OPTIONAL_COLUMNS}
    return build_item(row, id, Prompt(row.text("question")), row.text("answer"), names)


def build_item(row: SourceRow, id: str, prompt: Prompt, answer: str, names: Mapping[str, str]) -> Item:
    """Combine a prompt and an answer with the optional columns of a row.

    Args:
        row: The row that the optional columns are read from.
        id: Id of the item.
        prompt: Question and history.
        answer: Answer of the item.
        names: Name of an optional column -> its name in the file.

    Returns:
        The item.

    Raises:
        EffaceError: If an optional column is blank or not text, or if the key fact does not occur in the answer.
    """
    item = Item(
        id=id,
        question=prompt.question,
        history=prompt.history,
        answer=answer,
        golden_answer=row.optional_text(names["golden_answer"]),
        original_answer=row.optional_text(names["original_answer"]),
        paraphrased_question=row.optional_text(names["paraphrased_question"]),
        paraphrased_answer=row.optional_text(names["paraphrased_answer"]),
        perturbed_answers=(*row.texts(names["perturbed_answer"]), *row.texts(names["perturbed_answers"])),
        alternate_answers=(*row.texts(names["alternate"]), *row.texts(names["alternate_answers"])),
        key_fact=row.optional_text(names["key_fact"]),
        entity=row.optional_text(names["name"]),
    )
    if item.key_fact and item.key_fact.casefold() not in item.scored_answer.casefold():
        raise row.error(
            f"column {names['key_fact']!r} ({item.key_fact!r}) does not occur in the answer",
            "copy it from the answer",
        )
    return item
