"""Generic questions, written for efface, for a retain set of the model's answers. No torch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from efface.errors import EffaceError
from efface.safe_yaml import parse_own_yaml
from efface.schema import EvaluationSet, Item, Task
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
    """Add a model's answers to generic questions to the retain set.

    Every fourth question is not trained on but scored: changes of its answer are side effects of unlearning.

    Args:
        task: The task.
        answers: Id of a generic question -> the model's answer; blank ones are left out.
        retain_evaluation: Maximum number of questions that are scored.

    Returns:
        The task with these items at the start of the retain set, and the evaluation set `retain`.

    Raises:
        EffaceError: If the model answered too few questions.
    """
    items = [
        (_is_held_out(index), Item(id=question.id, question=question.question, answer=answers[question.id]))
        for index, question in enumerate(load_generic_questions())
        if answers.get(question.id, "").strip()
    ]
    scored = tuple(item for held_out, item in items if held_out)
    retain = tuple(item for held_out, item in items if not held_out)
    if not scored or not retain:
        raise EffaceError(
            f"data.retain=model-answers: the model answered {len(items)} generic questions, which is too few for a "
            "retain set; give data.retain=FILE, or another text.format if it should have answered"
        )
    evaluation = EvaluationSet(
        name="retain", items=evenly_spaced(scored, retain_evaluation), entailment_premise="answer"
    )
    return task.model_copy(
        update={
            "retain": (*retain, *task.retain),  # task.retain: the items of extra_retain
            "evaluation": (*task.evaluation, evaluation),
            # this key identifies data of earlier runs
            "sources": {**task.sources, f"own answers to {len(items)} generic questions": _digest(items)},
        }
    )


def truncate_to_sentence(text: str) -> str:
    """Remove an incomplete last sentence; a text without a complete one is returned unchanged."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    return text[: ends[-1]] if ends else text


def _is_held_out(index: int) -> bool:
    """One in four, shifted by one in each round of the topics, so that questions of every topic are held out."""
    return (index + index // _TOPICS) % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1


def _digest(items: Sequence[tuple[bool, Item]]) -> str:
    text = "".join(item.model_dump_json() for _, item in items)
    return hashlib.sha256(text.encode()).hexdigest()
