"""What a question-answer item, an evaluation set and an unlearning task are. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from efface.frozen import FrozenModel

Text = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
"""A string with at least one visible character; kept as it is, never stripped."""

Role = Literal["system", "user", "assistant"]


class Turn(FrozenModel):
    """One message of a conversation."""

    model_config = ConfigDict(strict=True)

    role: Role
    content: Text


@dataclass(frozen=True)
class Prompt:
    """What an answer goes on from."""

    question: str
    """What the user asks; of a passage its beginning, or nothing where the whole passage is the answer."""
    history: tuple[Turn, ...] = ()
    """What was said before the question, a system prompt included."""
    passage: bool = False
    """Running text: read as it stands, without any format around it, and not ended by the answer."""


class Item(FrozenModel):
    """One question and what is known about its answer, or a passage of running text."""

    model_config = ConfigDict(strict=True)

    id: str
    """Unique within a task, stable between runs, e.g. `forget01/1/0017`."""
    question: str
    """Blank only in a passage: then all of it is `answer`."""
    answer: Text
    """What the model is trained on (retain) or made to forget."""
    history: tuple[Turn, ...] = ()
    """The conversation before `question`."""
    passage: bool = False
    """Running text, in which `answer` follows `question` without a border."""
    golden_answer: Text | None = None
    """The fact itself, scored instead of `answer` where the model's own words are trained on (real-world)."""
    original_answer: Text | None = None
    """A full sentence, where `answer` is a bare name (Real Authors, World Facts)."""
    paraphrased_question: Text | None = None
    paraphrased_answer: Text | None = None
    perturbed_answers: tuple[Text, ...] = ()
    """Wrong answers in the words of the paraphrased answer."""
    key_fact: Text | None = None
    """The shortest string that any correct answer contains."""
    entity: str | None = None
    """The person or author the question is about."""

    @model_validator(mode="after")
    def _question_is_there(self) -> Self:
        if not self.passage and not self.question.strip():
            raise ValueError("question is blank")
        if self.passage and self.history:
            raise ValueError("a passage has no history")
        return self

    @property
    def prompt(self) -> Prompt:
        """What the answer goes on from."""
        return Prompt(self.question, self.history, self.passage)

    @property
    def scored_answer(self) -> str:
        """What ROUGE and probability compare with."""
        return self.golden_answer or self.answer

    @property
    def embedding_target(self) -> str:
        """What the cosine similarity compares with (the long stored answer)."""
        return self.original_answer or self.answer

    @property
    def entailment_target(self) -> str:
        """What the judge compares with."""
        return self.original_answer or self.scored_answer


class EvaluationSet(FrozenModel):
    """Questions that are scored together."""

    model_config = ConfigDict(strict=True)

    name: str
    """`forget`, `retain`, `real_authors`, `world_facts`, `neighbor`, or `forgotten-1` and so on: what earlier requests
    asked to forget."""
    items: tuple[Item, ...]
    entailment_premise: Literal["output", "answer"]
    """Which text must entail the other: the model's output the answer, or the answer the output."""


class Task(FrozenModel):
    """Everything that one unlearning request needs."""

    model_config = ConfigDict(strict=True)

    name: str
    forget: tuple[Item, ...]
    retain: tuple[Item, ...]
    """Empty where nothing is given to keep: only methods without a plus can then be used."""
    evaluation: tuple[EvaluationSet, ...]
    refusals: tuple[Text, ...]
    sources: dict[str, str] = Field(default={})
    """File name (or generator and seed) -> SHA-256 of its content; goes into the manifest."""
    warnings: tuple[str, ...] = ()
    """What the user should hear about this data, one sentence each."""
