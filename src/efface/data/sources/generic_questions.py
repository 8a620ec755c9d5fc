"""Generic questions for those who have no retain set of their own, in our own words. No torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml

from efface.errors import EffaceError
from efface.schema import EvaluationSet, Item, Task
from efface.spacing import evenly_spaced

_SCORED_EVERY = 4
"""One question in four is held out of training and scored."""
_TOPICS = 20
_SENTENCE_END = re.compile(r"[.!?…。！？](?=[\"'”’)\]]*(\s|$))[\"'”’)\]]*|\n")


@dataclass(frozen=True)
class GenericQuestion:
    """Something that anyone might ask any model, with no answer: the model's own is the one to keep."""

    id: str
    """Topic and place in the topic, counted from 1, such as `generic/history/07`."""
    topic: str
    question: str


@cache
def load_generic_questions() -> tuple[GenericQuestion, ...]:
    """Return the 400 questions of `generic_questions.yaml`, 20 on each of 20 topics, always in the same order.

    The first question of every topic comes first, then the second of every topic: any first n spread over the topics.
    """
    text = resources.files("efface.data.sources").joinpath("generic_questions.yaml").read_text(encoding="utf-8")
    topics: dict[str, list[str]] = yaml.safe_load(text)
    return tuple(
        GenericQuestion(id=f"generic/{topic}/{place:02d}", topic=topic, question=question)
        for place, questions in enumerate(zip(*topics.values(), strict=True), start=1)
        for topic, question in zip(topics, questions, strict=True)
    )


def first_generic_questions(count: int) -> tuple[GenericQuestion, ...]:
    """The first `count` questions, which spread over the topics."""
    return load_generic_questions()[:count]


def with_model_answers(task: Task, answers: Mapping[str, str], *, retain_evaluation: int) -> Task:
    """The task with a model's own answers to keep: id of a generic question -> answer.

    Every fourth question is not trained on but scored, as the set `retain`: what changes there is what unlearning
    broke. Blank answers are left out. Raises `EffaceError` where too few are left.
    """
    items = [
        (_is_scored(place), _item(question, answers[question.id]))
        for place, question in enumerate(load_generic_questions())
        if answers.get(question.id, "").strip()
    ]
    scored = tuple(item for held_out, item in items if held_out)
    retain = tuple(item for held_out, item in items if not held_out)
    if not scored or not retain:
        raise EffaceError(
            f"data.retain=model-answers: the model answered {len(items)} generic questions, too "
            "few to keep and to score; give data.retain=FILE, or another text.format if it should have answered"
        )
    evaluation = EvaluationSet(
        name="retain", items=evenly_spaced(scored, retain_evaluation), entailment_premise="answer"
    )
    return task.model_copy(
        update={
            "retain": (*retain, *task.retain),  # padding
            "evaluation": (*task.evaluation, evaluation),
            "sources": {**task.sources, f"own answers to {len(items)} generic questions": _digest(items)},
        }
    )


def truncate_to_sentence(text: str) -> str:
    """The text without the sentence that was cut short; all of it where there is no whole one."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else text


def _is_scored(place: int) -> bool:
    """One in four, moved on by one in each round of the topics, so that every topic is held out in turn."""
    return (place + place // _TOPICS) % _SCORED_EVERY == _SCORED_EVERY - 1


def _item(question: GenericQuestion, answer: str) -> Item:
    return Item(id=question.id, question=question.question, answer=answer)


def _digest(items: Sequence[tuple[bool, Item]]) -> str:
    text = "".join(item.model_dump_json() for _, item in items)
    return hashlib.sha256(text.encode()).hexdigest()
