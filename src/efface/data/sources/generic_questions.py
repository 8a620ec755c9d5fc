"""Generic questions, written for efface, for a retain set of the model's answers. No torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from efface.data.sources.kept_facts import known_facts_set, split_facts
from efface.errors import EffaceError
from efface.files.safe_yaml import parse_own_yaml
from efface.schema import EvaluationSet, Item, Task, fact_id
from efface.spacing import evenly_spaced

_HELD_OUT_EVERY = 4
"""One question in four is held out of training and scored."""
_TOPICS = 20
_SENTENCE_END = re.compile(r"[.!?…。！？](?=[\"'”’)\]]*(\s|$))[\"'”’)\]]*|\n")


@dataclass(frozen=True)
class GenericQuestion:
    """A question without a reference answer: the retain set has the model's answer."""

    id: str
    """Topic and number within the topic, such as `generic/history/07`."""
    topic: str
    question: str


@cache
def load_generic_questions() -> tuple[GenericQuestion, ...]:
    """Load the 400 questions of `generic_questions.yaml`, 20 on each of 20 topics.

    Returns:
        The first question of every topic, then the second of every topic and so on, so that the first n cover the
        topics evenly.
    """
    text = resources.files("efface.data.sources").joinpath("generic_questions.yaml").read_text(encoding="utf-8")
    topics: dict[str, list[str]] = parse_own_yaml(text)
    return tuple(
        GenericQuestion(id=f"generic/{topic}/{number:02d}", topic=topic, question=question)
        for number, questions in enumerate(zip(*topics.values(), strict=True), start=1)
        for topic, question in zip(topics, questions, strict=True)
    )


def first_generic_questions(count: int) -> tuple[GenericQuestion, ...]:
    """The first `count` questions, which cover the topics evenly."""
    return load_generic_questions()[:count]


def with_model_answers(task: Task, answers: Mapping[str, str], *, retain_evaluation: int) -> Task:
    """Add a model's answers to generic questions to the retain set, and the facts that it knows.

    Every fourth generic question, and the facts about every third person or thing, are not trained on but scored:
    changes of these answers are side effects of unlearning.

    Args:
        task: The task.
        answers: Id of a generic question, or of one about a fact that the model knows, in either wording -> its answer;
            blank ones are left out.
        retain_evaluation: Maximum number of questions of each of the two sets that are scored.

    Returns:
        The task with these items at the start of the retain set, and the evaluation sets `retain` and `known_facts`, as
        far as there are any.

    Raises:
        EffaceError: If there are too few answers.
    """
    items = [
        (_is_held_out(index), Item(id=question.id, question=question.question, answer=answers[question.id]))
        for index, question in enumerate(load_generic_questions())
        if answers.get(question.id, "").strip()
    ]
    to_forget = [*task.forget, *(item for each in task.evaluation for item in each.items)]  # of earlier requests, too
    trained_facts, scored_facts = split_facts(answers, to_forget)
    scored = tuple(item for held_out, item in items if held_out)
    retain = (*(item for held_out, item in items if not held_out), *trained_facts)
    if not (scored or scored_facts) or not retain:
        raise EffaceError(
            f"data.retain=model-answers: the model answered {len(items)} generic questions and knows no facts, which "
            "is too few for a retain set; give data.retain=FILE, or another text.format if it should have answered"
        )
    sets = []
    if scored:
        generic = evenly_spaced(scored, retain_evaluation)
        sets.append(EvaluationSet(name="retain", items=generic, entailment_premise="answer"))
    if scored_facts:
        sets.append(known_facts_set(evenly_spaced(scored_facts, retain_evaluation)))
    # the first key identifies data of earlier runs
    sources = {f"own answers to {len(items)} generic questions": _digest(item for _, item in items)}
    if trained_facts:
        known = {fact_id(item.id) for item in (*trained_facts, *scored_facts)}
        sources[f"{len(known)} known facts"] = _digest((*trained_facts, *scored_facts))
    return task.model_copy(
        update={
            "retain": (*retain, *task.retain),  # task.retain: the items of extra_retain
            "evaluation": (*task.evaluation, *sets),
            "sources": {**task.sources, **sources},
        }
    )


def truncate_to_sentence(text: str) -> str:
    """Remove an incomplete last sentence; a text without a complete one is returned unchanged."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else text


def _is_held_out(index: int) -> bool:
    """One in four, shifted by one in each round of the topics, so that questions of every topic are held out."""
    return (index + index // _TOPICS) % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1


def _digest(items: Iterable[Item]) -> str:
    return hashlib.sha256("".join(item.model_dump_json() for item in items).encode()).hexdigest()
