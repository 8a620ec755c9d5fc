"""Well-known facts as questions (`known_facts.yaml`, in our own words), to find what a model knows. No torch."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from functools import cache
from importlib import resources
from typing import Literal

import yaml

from efface.data.question_files import FileQuestion, QuestionFile
from efface.frozen import FrozenModel
from efface.schema import Item

_WRONG_ANSWERS = 5


class Attribute(FrozenModel):
    """One thing to know about an entity, in two wordings; texts hold `$name`, answers `$fact`, too."""

    question: str
    answer: str
    other_question: str
    other_answer: str
    key: Literal["whole", "last word"] = "whole"
    """What of the fact any right answer contains: a surname alone will do."""

    def key_of(self, fact: str) -> str:
        """The part of a fact that any right answer contains."""
        return fact.rsplit(maxsplit=1)[-1] if self.key == "last word" else fact


class FactType(FrozenModel):
    """Entities of one kind: what can be asked of them, and entity -> attribute -> fact."""

    attributes: dict[str, Attribute]
    entities: dict[str, dict[str, str | int]]


@cache
def load_fact_types() -> dict[str, FactType]:
    """Read `known_facts.yaml`."""
    text = resources.files("efface.data.sources").joinpath("known_facts.yaml").read_text(encoding="utf-8")
    return {name: FactType.model_validate(kind) for name, kind in yaml.safe_load(text).items()}


@cache
def load_known_facts() -> QuestionFile:
    """Return a question for every fact, kind after kind and entity after entity, always the same.

    An item's `key_fact` occurs in its answer and paraphrased answer, in none of its five wrong answers, which put
    facts of other entities into the words of the answer, and not in its questions.
    """
    questions = tuple(
        FileQuestion(_item(label, kind, name, attribute), label)
        for label, kind in load_fact_types().items()
        for name, facts in kind.entities.items()
        for attribute in facts
    )
    digest = hashlib.sha256("\n".join(each.item.model_dump_json() for each in questions).encode()).hexdigest()
    return QuestionFile("the facts that come with efface", digest, questions)


def _item(label: str, kind: FactType, name: str, attribute: str) -> Item:
    wording = kind.attributes[attribute]
    fact, id_ = str(kind.entities[name][attribute]), f"fact/{label}/{name}/{attribute}"
    others = {str(facts[attribute]) for facts in kind.entities.values() if attribute in facts}
    wrong = [other for other in sorted(others) if _differ(wording, fact, other)]
    return Item(
        id=id_,
        question=_fill(wording.question, name),
        answer=_fill(wording.answer, name, fact),
        paraphrased_question=_fill(wording.other_question, name),
        paraphrased_answer=_fill(wording.other_answer, name, fact),
        perturbed_answers=tuple(
            _fill(wording.answer, name, other) for other in random.Random(id_).sample(wrong, _WRONG_ANSWERS)
        ),
        key_fact=wording.key_of(fact),
        entity=name,
    )


def _differ(wording: Attribute, fact: str, other: str) -> bool:
    """Whether neither fact contains the other, or what of it any right answer contains."""
    one, two = fact.casefold(), other.casefold()
    return not _any_in((one, wording.key_of(one)), two) and not _any_in((two, wording.key_of(two)), one)


def _any_in(parts: Iterable[str], text: str) -> bool:
    return any(part in text for part in parts)


def _fill(template: str, name: str, fact: str = "") -> str:
    """A sentence: names such as `the Nile` may begin it."""
    text = template.replace("$name", name).replace("$fact", fact)
    return text[0].upper() + text[1:]
