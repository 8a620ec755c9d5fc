"""Which facts a model knows, how many, and how known entities are split into a forget set and two retain sets."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import ConfigDict

from efface.data.question_files import FileQuestion
from efface.errors import EffaceError
from efface.evaluation.judging.key_fact_judge import contains_fact
from efface.evaluation.likelihoods import Likelihoods
from efface.frozen import FrozenModel
from efface.scores.means import mean


class _Reported(FrozenModel):
    model_config = ConfigDict(allow_inf_nan=False)


class Outcome(_Reported):
    """A model's answer to one question, and the likelihoods of correct and wrong answers."""

    id: str
    kind: str
    name: str
    question: str
    key_fact: str
    golden_answer: str
    answer: str
    """The model's; may be empty."""
    golden_logprob: float
    """Mean natural-log probability of the correct answer's tokens, end-of-sequence included."""
    wrong_logprobs: list[float]
    """The same for each wrong answer."""
    says_fact: bool
    """Whether the model's answer contains the key fact."""
    prefers_golden: bool
    """Whether the correct answer is more likely than every wrong one."""

    @property
    def known(self) -> bool:
        """Whether the model knows the answer: it gives it, and prefers it."""
        return self.says_fact and self.prefers_golden


class Counts(_Reported):
    """How many questions were asked, and how many passed; an entity is known if one of its questions passed."""

    questions: int
    says_fact: int
    prefers_golden: int
    known: int
    entities: int
    known_entities: int


class Split(_Reported):
    """The known entities of each set, in the order of the questions."""

    forget: list[str]
    neighbor: list[str]
    """Trained on as the retain set."""
    neighbor_perturbed: list[str]
    """Scored, and never trained on."""


class Report(_Reported):
    """`probe.json`."""

    schema_version: Literal[1] = 1
    efface: str
    model: str
    model_sha256: str
    tokenizer_sha256: str | None = None
    """Of the tokenizer's files, where it is not from the model's folder."""
    questions: str
    """Their source, such as a file."""
    questions_sha256: str
    settings: dict[str, object]
    total: Counts
    kinds: dict[str, Counts]
    split: Split | None
    """None where the model knows too few entities."""
    outcomes: list[Outcome]

    def to_json(self) -> dict[str, object]:
        """As written to probe.json, where the version's key is `schema`."""
        body = self.model_dump()
        return {"schema": body.pop("schema_version"), **body}


def judge_knowledge(question: FileQuestion, answer: str, likelihoods: Likelihoods) -> Outcome:
    """Judge whether a model knows the answer to a question.

    Args:
        question: With a key fact, an entity and wrong answers.
        answer: The model's.
        likelihoods: Log-probabilities of the correct and the wrong answers.

    Raises:
        ValueError: The question does not have all of these.
    """
    item = question.item
    if item.key_fact is None or item.entity is None or not likelihoods.perturbed:
        raise ValueError(f"{item.id} cannot be judged: a key fact, an entity or wrong answers are missing")
    golden, wrong = mean(likelihoods.answer), [mean(logprobs) for logprobs in likelihoods.perturbed]
    return Outcome(
        id=item.id,
        kind=question.kind,
        name=item.entity,
        question=item.question,
        key_fact=item.key_fact,
        golden_answer=item.scored_answer,
        answer=answer,
        golden_logprob=golden,
        wrong_logprobs=wrong,
        says_fact=contains_fact(answer, item.key_fact),
        prefers_golden=golden > max(wrong),
    )


def count(outcomes: Sequence[Outcome]) -> Counts:
    """Count questions and entities, and how many of them are known."""
    return Counts(
        questions=len(outcomes),
        says_fact=sum(each.says_fact for each in outcomes),
        prefers_golden=sum(each.prefers_golden for each in outcomes),
        known=sum(each.known for each in outcomes),
        entities=len({each.name for each in outcomes}),
        known_entities=len({each.name for each in outcomes if each.known}),
    )


def by_kind(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """The outcomes of each kind of question, in their order."""
    kinds: dict[str, list[Outcome]] = {}
    for each in outcomes:
        kinds.setdefault(each.kind, []).append(each)
    return kinds


def split_entities(outcomes: Sequence[Outcome], seed: int) -> Split | None:
    """Split the known entities at random into three sets of the same size, with as many of each kind.

    All questions about an entity go with it; its kind is that of the first of them.

    Args:
        outcomes: Of all questions.
        seed: Of the split.

    Returns:
        The split; None with fewer than three known entities.
    """
    kind_of: dict[str, str] = {}
    for each in outcomes:
        if each.known:
            kind_of.setdefault(each.name, each.kind)
    groups: Mapping[str, list[str]] = {kind: [] for kind in kind_of.values()}
    for name, kind in kind_of.items():
        groups[kind].append(name)
    shuffled = [
        name for kind, names in groups.items() for name in random.Random(f"{seed}/{kind}").sample(names, len(names))
    ]
    if len(shuffled) < len(Split.model_fields):
        return None
    sets = (set(shuffled[start::3]) for start in range(3))
    forget, neighbor, scored = ([name for name in kind_of if name in each] for each in sets)
    return Split(forget=forget, neighbor=neighbor, neighbor_perturbed=scored)


def too_few_error(report: Report) -> EffaceError:
    """The error for a model that knows too few entities to split."""
    total = report.total
    return EffaceError(
        f"model {report.model} knows {total.known_entities:,} of {total.entities:,} entities ({total.known:,} of "
        f"{total.questions:,} questions), and three are needed: one to forget, one to retain and one to score; "
        "give more or easier questions, or set text.format as the model was trained"
    )
