"""Turn a row of a JSON-lines file into an `Item`: one set of column names for every source. No torch."""

from __future__ import annotations

from efface.data.jsonl import Row
from efface.schema import Item

COLUMNS = (
    "question",
    "answer",
    "golden_answer",
    "original_answer",
    "paraphrased_question",
    "paraphrased_answer",
    "perturbed_answer",
    "perturbed_answers",
    "key_fact",
    "name",
)
"""Every column that is read. Only `question` and `answer` must be there; `name` is who the question is about."""


def to_item(row: Row, id: str) -> Item:
    """Return the row as an item called `id`.

    Raises `EffaceError` for a column that is missing, blank or no text, or a key fact that its answer lacks.
    """
    item = Item(
        id=id,
        question=row.text("question"),
        answer=row.text("answer"),
        golden_answer=row.optional_text("golden_answer"),
        original_answer=row.optional_text("original_answer"),
        paraphrased_question=row.optional_text("paraphrased_question"),
        paraphrased_answer=row.optional_text("paraphrased_answer"),
        perturbed_answers=(*row.texts("perturbed_answer"), *row.texts("perturbed_answers")),
        key_fact=row.optional_text("key_fact"),
        entity=row.optional_text("name"),
    )
    if item.key_fact and item.key_fact.casefold() not in item.scored_answer.casefold():
        raise row.refusal(
            f"column 'key_fact' ({item.key_fact!r}) does not occur in the answer", "copy it from the answer"
        )
    return item
