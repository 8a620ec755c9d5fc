"""Fictitious authors made up from word lists (`authors.yaml`): a benchmark that needs no download. No torch."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import product
from typing import Self

import yaml

from efface.data.sources.refusals import load_refusals
from efface.data.subsets import forgotten_before_sets, remaining_retain, retain_evaluation_set
from efface.data.task_checks import check_task_items
from efface.errors import EffaceError
from efface.frozen import FrozenModel
from efface.schema import EvaluationSet, Item, Task

MAX_AUTHORS = 200
"""As many as TOFU has. Up to here no name and no book title comes twice."""

_WRONG_ANSWERS = 5


class NameLists(FrozenModel):
    """First and last names, as many of one as of the other."""

    first: tuple[str, ...]
    last: tuple[str, ...]


class Attribute(FrozenModel):
    """One thing to know about an author: its possible values, and ways to ask for and to state it."""

    pattern: str
    """How one of each of `parts` makes a value, as a `str.format` pattern."""
    parts: tuple[tuple[str | int, ...], ...]
    questions: tuple[str, ...]
    """Each with `$name`."""
    answers: tuple[str, ...]
    """Each with `$name` and `$fact`."""

    @property
    def values(self) -> list[str]:
        """All combinations of the parts."""
        return [self.pattern.format(*combination) for combination in product(*self.parts)]


class WordLists(FrozenModel):
    """All that authors are made of."""

    names: NameLists
    attributes: dict[str, Attribute]


@cache
def load_word_lists() -> WordLists:
    """Read `authors.yaml`."""
    text = resources.files("efface.data.sources").joinpath("authors.yaml").read_text(encoding="utf-8")
    return WordLists.model_validate(yaml.safe_load(text))


def make_authors(authors: int, seed: int) -> tuple[Item, ...]:
    """Return 20 questions for each author, one per attribute, author after author.

    The same seed gives the same authors; the first ones do not depend on how many are asked for. Each item's
    `key_fact` occurs in its answer and paraphrased answer, in none of its five wrong answers, and not in its
    questions. Raises `EffaceError` unless 1 <= authors <= `MAX_AUTHORS`.
    """
    if not 1 <= authors <= MAX_AUTHORS:
        raise EffaceError(f"cannot generate {authors} authors: ask for 1 to {MAX_AUTHORS}")
    material = load_word_lists()
    decks = [_Deck.shuffled(label, attribute, seed) for label, attribute in material.attributes.items()]
    names = _names(material.names, authors, seed)
    return tuple(deck.draw(number, name) for number, name in enumerate(names) for deck in decks)


def load_synthetic_authors(
    authors: int, forget_authors: int, seed: int, retain_evaluation: int, *, task: int = 1, after: Sequence[int] = ()
) -> Task:
    """Return the task that forgets `forget_authors` of the generated authors and keeps the others.

    Task 1 forgets the last ones, task 2 those before them, and so on; those of the tasks `after` were forgotten
    before. Raises `EffaceError` for numbers that leave nobody to forget or to keep.
    """
    if not 1 <= forget_authors < authors:
        raise EffaceError(f"cannot forget {forget_authors} of {authors} authors: at least one must go and one stay")
    items = make_authors(authors, seed)
    size = len(items) // authors * forget_authors
    requests = [items[len(items) - each * size :][:size] for each in (*after, task)]
    name = f"synthetic-authors-{forget_authors}-of-{authors}" + (f"-task{task}" if task > 1 or after else "")
    return check_task_items(
        Task(
            name=name,
            forget=requests[-1],
            retain=remaining_retain(items, requests, name=name),
            evaluation=(
                EvaluationSet(name="forget", items=requests[-1], entailment_premise="output"),
                *forgotten_before_sets(requests[:-1]),
                retain_evaluation_set(items, requests, retain_evaluation, name=name),
            ),
            refusals=load_refusals(),
            sources={f"{authors} generated authors, seed {seed}": _digest(items)},
        )
    )


@dataclass(frozen=True)
class _Deck:
    """One attribute as a seed shuffled it: author k is dealt the k-th fact and wording."""

    label: str
    seed: int
    facts: Sequence[str]
    questions: Sequence[str]
    answers: Sequence[str]

    @classmethod
    def shuffled(cls, label: str, attribute: Attribute, seed: int) -> Self:
        rng = random.Random(f"{seed}/{label}")
        piles = (attribute.values, attribute.questions, attribute.answers)
        return cls(label, seed, *(rng.sample(pile, len(pile)) for pile in piles))

    def draw(self, author: int, name: str) -> Item:
        """Return the question about this attribute for author number `author`, counted from 0."""
        rng = random.Random(f"{self.seed}/{self.label}/{author}")
        fact = self.facts[author % len(self.facts)]
        wrong = [value for value in rng.sample(self.facts, _WRONG_ANSWERS + 1) if value != fact]
        question, other_question = _two_of(self.questions, author, rng)
        answer, other_answer = _two_of(self.answers, author, rng)
        return Item(
            id=f"author/{author + 1:03d}/{self.label}",
            question=_fill(question, name),
            answer=_fill(answer, name, fact),
            paraphrased_question=_fill(other_question, name),
            paraphrased_answer=_fill(other_answer, name, fact),
            perturbed_answers=tuple(_fill(other_answer, name, value) for value in wrong[:_WRONG_ANSWERS]),
            key_fact=fact,
            entity=name,
        )


def _two_of(texts: Sequence[str], author: int, rng: random.Random) -> tuple[str, str]:
    """Return the author's wording, dealt in turn so that neighbors differ, and any other one."""
    return texts[author % len(texts)], texts[(author + rng.randrange(1, len(texts))) % len(texts)]


def _fill(template: str, name: str, fact: str = "") -> str:
    return template.replace("$name", name).replace("$fact", fact)


def _names(names: NameLists, authors: int, seed: int) -> list[str]:
    """Pair first with last names so that none recurs before all were used, and no pair ever."""
    rng = random.Random(f"{seed}/names")
    size = len(names.first)
    first, last = rng.sample(names.first, size), rng.sample(names.last, size)
    return [f"{first[k % size]} {last[(k + k // size) % size]}" for k in range(authors)]


def _digest(items: Sequence[Item]) -> str:
    return hashlib.sha256(
        "\n".join(item.model_dump_json(exclude={"history", "passage"}) for item in items).encode()
    ).hexdigest()
