"""Data model of questions and answers, evaluation sets and unlearning tasks. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from efface.artifacts import ExtraMetric
from efface.frozen import FrozenModel

Text = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
"""A string with at least one visible character; never stripped."""

Role = Literal["system", "user", "assistant"]

OTHER_WORDS = "/other words"
"""Ends the id of a question that asks for a fact once more, in other words."""


class Turn(FrozenModel):
    """One message of a conversation."""

    model_config = ConfigDict(strict=True)

    role: Role
    content: Text


@dataclass(frozen=True)
class Prompt:
    """Everything that precedes an answer."""

    question: str
    """The last user message; for a passage, its first part, or empty if the whole passage is the answer."""
    history: tuple[Turn, ...] = ()
    """Messages before the question, including a system prompt."""
    passage: bool = False
    """Running text: tokenized without a chat template, and without an end-of-sequence token after the answer."""


class Item(FrozenModel):
    """A question with its answer and metadata, or a passage of running text."""

    model_config = ConfigDict(strict=True)

    id: str
    """Unique within a task and stable between runs, such as `forget01/1/0017`."""
    question: str
    """Blank only in a passage, whose whole text is then `answer`."""
    answer: Text
    """The text that the model is trained on (retain) or trained to forget."""
    history: tuple[Turn, ...] = ()
    """Messages before `question`."""
    passage: bool = False
    """Running text, in which `answer` follows `question` directly."""
    golden_answer: Text | None = None
    """The correct answer, scored instead of `answer` where `answer` is a model's output (real-world)."""
    original_answer: Text | None = None
    """A full sentence, where `answer` is only a name (Real Authors, World Facts)."""
    paraphrased_question: Text | None = None
    paraphrased_answer: Text | None = None
    perturbed_answers: tuple[Text, ...] = ()
    """Wrong answers in the wording of the paraphrased answer."""
    alternate_answers: tuple[Text, ...] = ()
    """Other answers that the model is trained to give instead (AltPO)."""
    key_fact: Text | None = None
    """The shortest string that every correct answer contains."""
    entity: str | None = None
    """The person or author that the question is about."""

    @model_validator(mode="after")
    def _check_question(self) -> Self:
        if not self.passage and not self.question.strip():
            raise ValueError("question is blank")
        if self.passage and self.history:
            raise ValueError("a passage has no history")
        return self

    @model_serializer(mode="wrap")
    def _omit_alternates_if_empty(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """So that hashes of items without any stay those of earlier versions."""
        values: dict[str, Any] = written(self)
        if not self.alternate_answers:
            values.pop("alternate_answers", None)
        return values

    @property
    def prompt(self) -> Prompt:
        """Everything that precedes the answer."""
        return Prompt(self.question, self.history, self.passage)

    @property
    def scored_answer(self) -> str:
        """The reference text of ROUGE and probability."""
        return self.golden_answer or self.answer

    @property
    def embedding_target(self) -> str:
        """The reference text of cosine similarity: a full sentence."""
        return self.original_answer or self.answer

    @property
    def entailment_target(self) -> str:
        """The reference text of the entailment judge."""
        return self.original_answer or self.scored_answer


def fact_id(question_id: str) -> str:
    """The id of a fact, from that of a question about it in any wording.

    Args:
        question_id: Of the question; one that is asked in one wording is its own fact.
    """
    return question_id.removesuffix(OTHER_WORDS)


class EvaluationSet(FrozenModel):
    """Items that are scored together."""

    model_config = ConfigDict(strict=True)

    name: str
    """`forget`, `retain`, `real_authors`, `world_facts`, `neighbor`, `known_facts`, `forget_knowledge`, `members`,
    `holdout`, or `forgotten-1`, `forgotten-2` and so on for the forget sets of earlier requests."""
    items: tuple[Item, ...]
    entailment_premise: Literal["output", "answer"]
    """The premise of the entailment score: the model's output (which must entail the answer) or the answer."""
    max_new_tokens: int | None = None
    """Most tokens of an output; None for those of the evaluation, 0 to compute likelihoods alone."""
    stop: tuple[str, ...] = ()
    """An output ends before the first of these strings."""
    extra_metrics: tuple[ExtraMetric, ...] = ()
    """Metrics that are computed for this set in addition to the six."""
    key_facts_only: bool = False
    """Whether its outputs are judged by their key facts, whatever judges the other sets."""


class Task(FrozenModel):
    """The data of one unlearning request."""

    model_config = ConfigDict(strict=True)

    name: str
    forget: tuple[Item, ...]
    retain: tuple[Item, ...]
    """Empty if there is no retain set; then only methods without a retain term can be used."""
    evaluation: tuple[EvaluationSet, ...]
    refusals: tuple[Text, ...]
    sources: dict[str, str] = Field(default={})
    """File name (or generator and seed) -> SHA-256 of its content; written to the manifest."""
    warnings: tuple[str, ...] = ()
    """Warnings about the data, one sentence each."""
