"""A fact that is audited, and what an attack made of it. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ConfigDict, Field

from efface.frozen import FrozenModel
from efface.schema import Item, Prompt


@dataclass(frozen=True)
class Fact:
    """A question of the forget set, or a passage, that the model before unlearning answered correctly."""

    item: Item
    answer_type: str
    """`year`, `number`, `name` or `text`: facts of one type are exchanged to measure chance."""

    @property
    def id(self) -> str:
        """The id of the item."""
        return self.item.id

    @property
    def prompt(self) -> Prompt:
        """Everything before the answer, as the run prompts with it."""
        return self.item.prompt

    @property
    def question(self) -> str:
        """The last user message; blank in a passage that is all answer."""
        return self.item.question

    @property
    def answer(self) -> str:
        """The text that ROUGE and the judge compare with."""
        return self.item.scored_answer

    @property
    def key_fact(self) -> str | None:
        """The shortest string that every correct answer contains, where the data has it."""
        return self.item.key_fact

    @property
    def subject(self) -> str | None:
        """The person or thing that the question is about."""
        return self.item.entity

    @property
    def wrong_answers(self) -> tuple[str, ...]:
        """Wrong answers that the data has."""
        return self.item.perturbed_answers

    @property
    def paraphrased_question(self) -> str | None:
        """The question in other words, where the data has it."""
        return self.item.paraphrased_question

    @property
    def is_passage(self) -> bool:
        """Whether it is running text."""
        return self.item.passage


class Row(FrozenModel):
    """What one attack made of one fact. A line of audit/rows.jsonl has these fields and the model's name."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    attack: str
    variant: str
    seed: int
    fact: str
    """Id of the fact."""
    hit: bool | None
    """Whether the fact came back; None where the attack makes no output, or its own text contains the fact."""
    echo: bool = False
    """Whether the attack's own text contains the fact, so that nothing can be concluded."""
    shown: tuple[str, ...] = ()
    """Ids of all facts that the attack's own text contains; they are no chance hits."""
    output: str = ""
    """The text that was judged: the first hit where there are several outputs."""
    outputs: tuple[str, ...] = ()
    """All outputs of an attack that makes several of one prompt, such as samples."""
    numbers: dict[str, float] = Field(default={})
    """Numbers of this fact, by name, such as a log-probability."""


def text_of(prompt: Prompt) -> str:
    """All text that a prompt shows to the model.

    Args:
        prompt: With earlier turns, if there are any.
    """
    return "\n".join([*(turn.content for turn in prompt.history), prompt.question])
