"""A question to both models, and the prompt that each model gets. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from efface.chat.suggestions import SuggestedQuestion
from efface.errors import EffaceError
from efface.frozen import FrozenModel
from efface.schema import Prompt, Turn

Side = Literal["before", "after"]
"""The model before unlearning or the one after it."""
SIDES: tuple[Side, ...] = ("before", "after")

MAX_NEW_TOKENS = 1024
"""Upper limit of `ChatRequest.max_new_tokens`."""
_MAX_QUESTION_LENGTH = 8_000
_MAX_ANSWER_LENGTH = 100_000

_UserText = Annotated[str, StringConstraints(min_length=1, max_length=_MAX_QUESTION_LENGTH, pattern=r"\S")]
_ModelText = Annotated[str, StringConstraints(max_length=_MAX_ANSWER_LENGTH)]


class Exchange(FrozenModel):
    """An earlier question of the conversation and both answers."""

    question: _ModelText
    before: _ModelText
    after: _ModelText


class ChatRequest(FrozenModel):
    """One question to both models, with the conversation before it."""

    model_config = ConfigDict(allow_inf_nan=False)

    suggestion: int | None = Field(default=None, ge=0)
    """Index of the suggested question that the conversation starts with; without `question`, it is asked now."""
    question: _UserText | None = None
    history: tuple[Exchange, ...] = ()
    """Earlier exchanges of the conversation, in order."""
    max_new_tokens: int = Field(gt=0, le=MAX_NEW_TOKENS)
    temperature: float = Field(default=0.0, ge=0, le=2)
    """0 for greedy decoding."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Of sampling, the same for both models."""

    @model_validator(mode="after")
    def _has_one_question(self) -> Self:
        if self.question is None and (self.suggestion is None or self.history):
            raise ValueError("the request has no question")
        return self


def build_prompt(
    side: Side, request: ChatRequest, suggestions: Sequence[SuggestedQuestion], *, multi_turn: bool
) -> Prompt:
    """Build the prompt of one model.

    Args:
        side: Which model.
        request: The question and the conversation before it.
        suggestions: The suggested questions that `request.suggestion` is an index of.
        multi_turn: Whether the text format has earlier turns. If so, the prompt starts with the turns of the suggested
            question and of the earlier exchanges, with this model's answers; exchanges in which it generated nothing
            are left out.

    Returns:
        The prompt.

    Raises:
        EffaceError: The suggested question does not exist.
    """
    if request.suggestion is not None and request.suggestion >= len(suggestions):
        raise EffaceError(
            f"there is no suggested question {request.suggestion}; give an index below {len(suggestions)}"
        )
    start = None if request.suggestion is None else suggestions[request.suggestion].prompt
    if request.question is None:
        assert start is not None
        return start
    if not multi_turn:
        return Prompt(request.question)
    turns = list(start.history) if start is not None else []
    for each in request.history:
        answer = getattr(each, side)
        if each.question.strip() and answer.strip():
            turns += [Turn(role="user", content=each.question), Turn(role="assistant", content=answer)]
    return Prompt(request.question, tuple(turns))
