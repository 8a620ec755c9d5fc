"""What is asked, and the prompt that each model gets. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from efface.chat.suggestions import SuggestedQuestion
from efface.errors import EffaceError
from efface.frozen import FrozenModel
from efface.schema import Prompt, Turn

Side = Literal["before", "after"]
SIDES: tuple[Side, ...] = ("before", "after")

MOST_NEW_TOKENS = 1024
_LONGEST_QUESTION = 8_000
_LONGEST_ANSWER = 100_000

_UserText = Annotated[str, StringConstraints(min_length=1, max_length=_LONGEST_QUESTION, pattern=r"\S")]
_ModelText = Annotated[str, StringConstraints(max_length=_LONGEST_ANSWER)]


class Exchange(FrozenModel):
    """A question that was asked, and what each model said."""

    question: _ModelText
    before: _ModelText
    after: _ModelText


class ChatRequest(FrozenModel):
    """One question to both models, and what was said before it."""

    model_config = ConfigDict(allow_inf_nan=False)

    preset: int | None = Field(default=None, ge=0)
    """The question to begin a conversation with, counted from 0; with `question`, that which it began with."""
    question: _UserText | None = None
    earlier: tuple[Exchange, ...] = ()
    max_new_tokens: int = Field(gt=0, le=MOST_NEW_TOKENS)
    temperature: float = Field(default=0.0, ge=0, le=2)
    seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        if self.question is None and (self.preset is None or self.earlier):
            raise ValueError("there is no question")
        return self


def prompt_for(side: Side, asked: ChatRequest, presets: Sequence[SuggestedQuestion], *, keeps_turns: bool) -> Prompt:
    """What one model is asked: behind what it itself said, where the text format `keeps_turns`.

    Exchanges in which it said nothing are left out. Raises `EffaceError` for a preset that is not there.
    """
    if asked.preset is not None and asked.preset >= len(presets):
        raise EffaceError(f"there is no preset question {asked.preset}; there are {len(presets)}")
    began = None if asked.preset is None else presets[asked.preset].prompt
    if asked.question is None:
        assert began is not None
        return began
    if not keeps_turns:
        return Prompt(asked.question)
    history = list(began.history) if began is not None else []
    for each in asked.earlier:
        said = getattr(each, side)
        if each.question.strip() and said.strip():
            history += [Turn(role="user", content=each.question), Turn(role="assistant", content=said)]
    return Prompt(asked.question, tuple(history))
