"""Synthetic authors, made from word lists (`authors.yaml`): a benchmark that needs no download. No torch."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import product
from typing import Self

from efface.data.sources.refusals import load_refusals
from efface.data.subsets import forgotten_before_sets, remaining_retain, retain_evaluation_set
from efface.data.task_checks import check_task_items
from efface.errors import EffaceError
from efface.files.safe_yaml import parse_own_yaml
from efface.frozen import FrozenModel
from efface.schema import EvaluationSet, Item, Task

MAX_AUTHORS = 200
"""As many as in TOFU. Up to this number, no name and no book title occurs twice."""

_WRONG_ANSWERS = 5


class NameLists(FrozenModel):
    """First and last names, of equal number."""

    first: tuple[str, ...]
    last: tuple[str, ...]


class AuthorAttribute(FrozenModel):
    """A property of an author: its possible values, and wordings of questions and answers."""

    pattern: str
    """`str.format` pattern of a value, filled with one element of each of `parts`."""
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
    """The content of `authors.yaml`."""

    names: NameLists
    attributes: dict[str, AuthorAttribute]


@cache
def load_word_lists() -> WordLists:
    """The content of `authors.yaml`."""
    text = resources.files("efface.data.sources").joinpath("authors.yaml").read_text(encoding="utf-8")
    return WordLists.model_validate(parse_own_yaml(text))


def make_authors(authors: int, seed: int) -> tuple[Item, ...]:
    """Make 20 questions for each author, one per attribute.

    The key fact of an item occurs in its answer and paraphrased answer, but not in its questions or its five wrong
    answers.

    Args:
        authors: Number of authors; the first ones do not depend on it.
        seed: Seed of names, facts and wording.

    Returns:
        The items, author by author.

    Raises:
        EffaceError: Unless 1 <= authors <= `MAX_AUTHORS`.
    """
    if not 1 <= authors <= MAX_AUTHORS:
        raise EffaceError(f"cannot make {authors} authors: set data.authors to 1 to {MAX_AUTHORS}")
    word_lists = load_word_lists()
    attributes = [_ShuffledAttribute.shuffle(name, each, seed) for name, each in word_lists.attributes.items()]
    names = _make_names(word_lists.names, authors, seed)
    return tuple(attribute.make_item(index, name) for index, name in enumerate(names) for attribute in attributes)


def load_synthetic_authors(
    authors: int,
    forget_authors: int,
    seed: int,
    retain_evaluation: int,
    *,
    task: int = 1,
    forgotten_before: Sequence[int] = (),
) -> Task:
    """Load the task that forgets some of the synthetic authors and retains the others.

    Args:
        authors: Number of authors.
        forget_authors: Number of authors in a forget set.
        seed: Seed of names, facts and wording.
        retain_evaluation: Maximum number of retain items that are scored.
        task: Number of the task; task 1 forgets the last authors, task 2 those before them and so on.
        forgotten_before: Tasks of earlier requests.

    Returns:
        The task.

    Raises:
        EffaceError: If the forget set or the retain set is empty.
    """
    if not 1 <= forget_authors < authors:
        raise EffaceError(
            f"cannot forget {forget_authors} of {authors} authors: set data.forget_authors to at least 1 and less than "
            "data.authors"
        )
    items = make_authors(authors, seed)
    size = len(items) // authors * forget_authors
    requests = [items[len(items) - number * size :][:size] for number in (*forgotten_before, task)]
    name = f"synthetic-authors-{forget_authors}-of-{authors}"
    if task > 1 or forgotten_before:
        name += f"-task{task}"
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
            # this key identifies data of earlier runs
            sources={f"{authors} generated authors, seed {seed}": _digest(items)},
        )
    )


@dataclass(frozen=True)
class _ShuffledAttribute:
    """An attribute whose facts and wordings are shuffled by a seed: author k has the k-th of each."""

    name: str
    seed: int
    facts: Sequence[str]
    questions: Sequence[str]
    answers: Sequence[str]

    @classmethod
    def shuffle(cls, name: str, attribute: AuthorAttribute, seed: int) -> Self:
        rng = random.Random(f"{seed}/{name}")
        lists = (attribute.values, attribute.questions, attribute.answers)
        return cls(name, seed, *(rng.sample(each, len(each)) for each in lists))

    def make_item(self, author: int, author_name: str) -> Item:
        """The question about this attribute for author number `author`, counted from 0."""
        rng = random.Random(f"{self.seed}/{self.name}/{author}")
        fact = self.facts[author % len(self.facts)]
        wrong = [value for value in rng.sample(self.facts, _WRONG_ANSWERS + 1) if value != fact]
        question, other_question = _choose_two(self.questions, author, rng)
        answer, other_answer = _choose_two(self.answers, author, rng)
        return Item(
            id=f"author/{author + 1:03d}/{self.name}",
            question=_fill(question, author_name),
            answer=_fill(answer, author_name, fact),
            paraphrased_question=_fill(other_question, author_name),
            paraphrased_answer=_fill(other_answer, author_name, fact),
            perturbed_answers=tuple(_fill(other_answer, author_name, value) for value in wrong[:_WRONG_ANSWERS]),
            key_fact=fact,
            entity=author_name,
        )


def _choose_two(texts: Sequence[str], author: int, rng: random.Random) -> tuple[str, str]:
    """The author's wording, which differs from that of the next author, and any other one."""
    return texts[author % len(texts)], texts[(author + rng.randrange(1, len(texts))) % len(texts)]


def _fill(template: str, name: str, fact: str = "") -> str:
    return template.replace("$name", name).replace("$fact", fact)


def _make_names(names: NameLists, authors: int, seed: int) -> list[str]:
    """Pair first and last names so that none recurs before all were used, and no pair ever recurs."""
    rng = random.Random(f"{seed}/names")
    size = len(names.first)
    first, last = rng.sample(names.first, size), rng.sample(names.last, size)
    return [f"{first[k % size]} {last[(k + k // size) % size]}" for k in range(authors)]


def _digest(items: Sequence[Item]) -> str:
    return hashlib.sha256(
        "\n".join(item.model_dump_json(exclude={"history", "passage"}) for item in items).encode()
    ).hexdigest()
