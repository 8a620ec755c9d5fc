"""Well-known facts as questions (`known_facts.yaml`, written for efface), to find what a model knows. No torch."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Literal

from efface.data.question_files import FileQuestion, QuestionFile
from efface.files.safe_yaml import parse_own_yaml
from efface.frozen import FrozenModel
from efface.schema import Item

_WRONG_ANSWERS = 5


class Attribute(FrozenModel):
    """A property of an entity, in two wordings; texts contain `$name`, answers also `$fact`."""

    question: str
    answer: str
    other_question: str
    other_answer: str
    key: Literal["whole", "last word"] = "whole"
    """The part of the fact that every correct answer contains: of a person's name, only the surname."""

    def key_of(self, fact: str) -> str:
        """The part of a fact that every correct answer contains."""
        return fact.rsplit(maxsplit=1)[-1] if self.key == "last word" else fact


class FactType(FrozenModel):
    """Entities of one type: their attributes, and entity -> attribute -> fact."""

    attributes: dict[str, Attribute]
    entities: dict[str, dict[str, str | int]]


@cache
def load_fact_types() -> dict[str, FactType]:
    """The content of `known_facts.yaml`: name of a type, such as `countries` -> its facts."""
    text = resources.files("efface.data.sources").joinpath("known_facts.yaml").read_text(encoding="utf-8")
    return {name: FactType.model_validate(fact_type) for name, fact_type in parse_own_yaml(text).items()}


@cache
def load_known_facts() -> QuestionFile:
    """Build a question for every fact.

    The key fact of an item occurs in its answer and paraphrased answer, but not in its questions or its five wrong
    answers, which contain facts of other entities in the wording of the answer.

    Returns:
        The questions by type and entity, always in the same order.
    """
    questions = tuple(
        FileQuestion(_build_item(type_name, fact_type, entity, attribute), type_name)
        for type_name, fact_type in load_fact_types().items()
        for entity, facts in fact_type.entities.items()
        for attribute in facts
    )
    digest = hashlib.sha256("\n".join(each.item.model_dump_json() for each in questions).encode()).hexdigest()
    return QuestionFile("the facts that come with efface", digest, questions)


def _build_item(type_name: str, fact_type: FactType, entity: str, attribute: str) -> Item:
    wording = fact_type.attributes[attribute]
    fact, item_id = str(fact_type.entities[entity][attribute]), f"fact/{type_name}/{entity}/{attribute}"
    others = {str(facts[attribute]) for facts in fact_type.entities.values() if attribute in facts}
    wrong = [other for other in sorted(others) if _differ(wording, fact, other)]
    return Item(
        id=item_id,
        question=_fill(wording.question, entity),
        answer=_fill(wording.answer, entity, fact),
        paraphrased_question=_fill(wording.other_question, entity),
        paraphrased_answer=_fill(wording.other_answer, entity, fact),
        perturbed_answers=tuple(
            _fill(wording.answer, entity, other) for other in random.Random(item_id).sample(wrong, _WRONG_ANSWERS)
        ),
        key_fact=wording.key_of(fact),
        entity=entity,
    )


def _differ(wording: Attribute, fact: str, other: str) -> bool:
    """Whether neither fact contains the other or the part of it that every correct answer contains."""
    first, second = fact.casefold(), other.casefold()
    return not _any_in((first, wording.key_of(first)), second) and not _any_in((second, wording.key_of(second)), first)


def _any_in(parts: Iterable[str], text: str) -> bool:
    return any(part in text for part in parts)


def _fill(template: str, name: str, fact: str = "") -> str:
    """Fill in a template; its first letter is capitalized, because a name such as `the Nile` may start it."""
    text = template.replace("$name", name).replace("$fact", fact)
    return text[0].upper() + text[1:]
