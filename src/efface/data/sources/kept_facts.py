"""Well-known facts beside a forget set: which are asked, trained on and scored. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from efface.data.sources.known_facts import load_known_facts
from efface.schema import OTHER_WORDS, EvaluationSet, Item

MAX_NEW_TOKENS = 32
"""Most tokens of an answer to a question about a fact: two sentences."""
LEAST_HELD_OUT = 10
"""Fewest known facts of which a share can be kept; with fewer, a model has none."""
_HELD_OUT_EVERY = 3
"""The facts about one person or thing in three are scored, and never trained on."""


def facts_to_ask(forget: Iterable[Item], count: int) -> tuple[Item, ...]:
    """Choose facts that have nothing to do with what is forgotten.

    Args:
        forget: All items to forget.
        count: How many facts there are before `without_forgotten` leaves some out. They are those whose ids have the
            smallest SHA-256, so that a larger number includes a smaller one.

    Returns:
        The facts, in an order that has nothing to do with what they are about.
    """
    facts = sorted((each.item for each in load_known_facts().questions), key=lambda item: _digest(item.id))
    return without_forgotten(facts[:count], forget)


def without_forgotten(facts: Iterable[Item], forget: Iterable[Item]) -> tuple[Item, ...]:
    """Leave out facts that name what is forgotten.

    A fact is left out if its person or thing, or the fact where that is a name, occurs in a text of the forget set, in
    full or by its last word: what is asked about Albert Einstein, and what Einstein is the answer to.

    Args:
        facts: With entities and key facts.
        forget: All items to forget.

    Returns:
        The others, in the same order.
    """
    words = _words(" ".join(text for item in forget for text in _texts(item)))
    return tuple(item for item in facts if not any(_words(name) in words for name in _names(item)))


def split_facts(answers: Mapping[str, str], forget: Iterable[Item]) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Divide known facts by what they are about: no person or thing is in both parts.

    Args:
        answers: Id of each question about a fact, in either wording, that the model knows -> its answer; other ids are
            ignored.
        forget: All items to forget; see `without_forgotten`.

    Returns:
        The questions to train on, with the model's answers, and the facts to score, which it knows in both wordings,
        with the correct answers.
    """
    facts = without_forgotten((each.item for each in load_known_facts().questions), forget)
    held_out = {item.id for item in facts if _digest(str(item.entity))[0] % _HELD_OUT_EVERY == 0}
    trained = (
        Item(id=item.id, question=item.question, answer=answers[item.id], entity=item.entity)
        for fact in facts
        if fact.id not in held_out
        for item in (fact, in_other_words(fact))
        if item.id in answers
    )
    scored = (fact for fact in facts if fact.id in held_out and {fact.id, in_other_words(fact).id} <= answers.keys())
    return tuple(trained), tuple(scored)


def known_facts_set(items: Sequence[Item]) -> EvaluationSet:
    """The evaluation set of the facts that are scored, each asked in both wordings in which the model knew it."""
    as_it_stands = [item.model_copy(update={"paraphrased_question": None}) for item in items]
    asked = tuple(chain.from_iterable(zip(as_it_stands, map(in_other_words, items), strict=True)))
    return EvaluationSet(
        name="known_facts",
        items=asked,
        entailment_premise="output",
        max_new_tokens=MAX_NEW_TOKENS,
        key_facts_only=True,
    )


def in_other_words(item: Item) -> Item:
    """A question in its other wording.

    Args:
        item: Has a paraphrased question.

    Returns:
        The question about the same fact, with an id of its own (`efface.schema.fact_id`).
    """
    changes = {"id": item.id + OTHER_WORDS, "question": item.paraphrased_question, "paraphrased_question": None}
    return item.model_copy(update=changes)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _texts(item: Item) -> Iterable[str]:
    turns = [turn.content for turn in item.history]
    others = (item.paraphrased_question, item.golden_answer, item.key_fact, item.entity)
    return [*turns, item.question, item.answer, *(text for text in others if text)]


def _names(item: Item) -> set[str]:
    """The name of a fact's person or thing and the fact, where it is a name, each in full and its last word."""
    names = {str(item.entity), str(item.key_fact)}
    names |= {name.split()[-1] for name in names}
    return {name for name in names if name[0].isupper()}


def _words(text: str) -> str:
    """The words of a text between single spaces, in lower case."""
    kept = "".join(each if each.isalnum() else " " for each in text.casefold())
    return f" {' '.join(kept.split())} "
