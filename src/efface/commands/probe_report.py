"""What a model knows of what it was asked, counted, and who of it is forgotten, kept and scored."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import ConfigDict

from efface.data.question_files import FileQuestion
from efface.errors import EffaceError
from efface.evaluation.key_fact_judge import KeyFactJudge
from efface.evaluation.likelihoods import Likelihoods
from efface.evaluation.nli_judge import Claim
from efface.frozen import FrozenModel
from efface.scores.means import mean


class _Reported(FrozenModel):
    model_config = ConfigDict(allow_inf_nan=False)


class Outcome(_Reported):
    """What a model said to one question, and how likely it held the right and the wrong answers."""

    id: str
    kind: str
    name: str
    question: str
    key_fact: str
    golden_answer: str
    answer: str
    """The model's own words; perhaps none."""
    golden_logprob: float
    """Of the right answer: mean natural-log probability of its tokens, the end included."""
    wrong_logprobs: list[float]
    """The same of each wrong answer."""
    says_fact: bool
    """Whether the key fact stands in the model's own words."""
    prefers_golden: bool
    """Whether the right answer is likelier than every wrong one."""

    @property
    def known(self) -> bool:
        """Whether the model knows the answer: it says it, and prefers it."""
        return self.says_fact and self.prefers_golden


class Counts(_Reported):
    """How many questions of a kind were asked, and how many passed; an entity is known by one question that did."""

    questions: int
    says_fact: int
    prefers_golden: int
    known: int
    entities: int
    known_entities: int


class Split(_Reported):
    """The entities that a model knows, by the file that asks about them, in the order of the questions."""

    forget: list[str]
    neighbor: list[str]
    """To be kept in training."""
    neighbor_perturbed: list[str]
    """The other neighbors, which are scored and never trained on."""


class Report(_Reported):
    """`probe.json`: who was asked what, and what came out."""

    schema_version: Literal[1] = 1
    efface: str
    model: str
    model_sha256: str
    questions: str
    """The file, or what else they come from."""
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


def outcome(question: FileQuestion, answer: str, believed: Likelihoods) -> Outcome:
    """Judge what a model said to a question and believes of its answers.

    The question must have a key fact, an entity and a wrong answer.
    """
    item = question.item
    if item.key_fact is None or item.entity is None or not believed.perturbed:
        raise ValueError(f"{item.id} cannot be judged: it lacks a key fact, an entity or wrong answers")
    golden, wrong = mean(believed.answer), [mean(logprobs) for logprobs in believed.perturbed]
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


def contains_fact(text: str, key_fact: str) -> bool:
    """Whether the key fact stands in a text, as the judge key-facts looks for it."""
    [verdict] = KeyFactJudge().verdicts([Claim(text, key_fact, key_fact, "output")])
    return verdict.label == "entailment"


def count(outcomes: Sequence[Outcome]) -> Counts:
    """Count what passed."""
    return Counts(
        questions=len(outcomes),
        says_fact=sum(each.says_fact for each in outcomes),
        prefers_golden=sum(each.prefers_golden for each in outcomes),
        known=sum(each.known for each in outcomes),
        entities=len({each.name for each in outcomes}),
        known_entities=len({each.name for each in outcomes if each.known}),
    )


def by_kind(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """The outcomes of each kind, in their order."""
    kinds: dict[str, list[Outcome]] = {}
    for each in outcomes:
        kinds.setdefault(each.kind, []).append(each)
    return kinds


def split(outcomes: Sequence[Outcome], seed: int) -> Split | None:
    """Deal the entities that are known to the three sets, as many to each and of every kind, as a seed has it.

    All questions about an entity go with it; an entity is of the kind of the first of them. None where there are
    fewer than three.
    """
    kind_of: dict[str, str] = {}
    for each in outcomes:
        if each.known:
            kind_of.setdefault(each.name, each.kind)
    groups: Mapping[str, list[str]] = {kind: [] for kind in kind_of.values()}
    for name, kind in kind_of.items():
        groups[kind].append(name)
    dealt = [
        name for kind, names in groups.items() for name in random.Random(f"{seed}/{kind}").sample(names, len(names))
    ]
    if len(dealt) < len(Split.model_fields):
        return None
    hands = (set(dealt[start::3]) for start in range(3))
    forget, neighbor, scored = ([name for name in kind_of if name in hand] for hand in hands)
    return Split(forget=forget, neighbor=neighbor, neighbor_perturbed=scored)


def too_few(report: Report) -> EffaceError:
    """The error about a model that knows too little."""
    total = report.total
    return EffaceError(
        f"model {report.model} knows {total.known_entities:,} of {total.entities:,} entities ({total.known:,} of "
        f"{total.questions:,} questions), and three are needed, one each to forget, to keep and to score; ask it more "
        "or easier questions, or set text.format as it was trained"
    )
