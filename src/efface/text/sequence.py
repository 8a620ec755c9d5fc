"""A question and an answer as token ids."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Positions = Literal["answer", "all"]
"""The tokens that a loss or score covers: those of the answer, or every token after the first."""


@dataclass(frozen=True)
class TokenizedSequence:
    """One question and one answer as token ids; the input of the model is `prompt + answer`."""

    id: str
    prompt: list[int]
    """The tokens before the first one that is learned or scored; `merged` ones are not what generation starts from."""
    answer: list[int]
    """Ends with the end-of-turn token, so that a model learns to stop, except in a passage of running text."""
    merged: bool = False
    """Whether the ids of prompt and answer together do not start with those of the prompt alone: a token has characters
    of both."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)

    @cached_property
    def key(self) -> str:
        """A hash of the token ids: caches look sequences up by content, not by id."""
        ids = array("q", [len(self.prompt), *self.prompt, *self.answer])
        return hashlib.sha256(ids.tobytes()).hexdigest()
