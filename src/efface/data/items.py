"""A row's columns as an `Item`: one set of names for every source. No torch."""

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
    "key_fact",
    "name",
)
"""Columns beside a question and its answer that are read where they are there; `name` is whom the question is about."""


def to_item(row: SourceRow, id: str) -> Item:
    """Return a row with the columns `question` and `answer` as an item called `id`.

    Raises `EffaceError` for a column that is missing, blank or no text, or a key fact that its answer lacks.
    """
    names = {name: name for name in OPTIONAL_COLUMNS}
    return build_item(row, id, Prompt(row.text("question")), row.text("answer"), names)


def build_item(row: SourceRow, id: str, prompt: Prompt, answer: str, names: Mapping[str, str]) -> Item:
    """Return the item of this prompt and answer with what the row's other columns say about it.

    `names`: what the file calls the columns of `OPTIONAL_COLUMNS`. Raises `EffaceError` as `to_item` does.
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
        key_fact=row.optional_text(names["key_fact"]),
        entity=row.optional_text(names["name"]),
    )
    if item.key_fact and item.key_fact.casefold() not in item.scored_answer.casefold():
        raise row.refusal(
            f"column {names['key_fact']!r} ({item.key_fact!r}) does not occur in the answer",
            "copy it from the answer",
        )
    return item
