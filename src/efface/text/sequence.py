"""A question and an answer as token ids."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from itertools import chain
from typing import Literal

Positions = Literal["answer", "all"]
"""The tokens that a loss or score covers: those of the answer, or every token after the first."""


class TokenizedSequence:
    """One question and one answer as token ids; the input of the model is `prompt + answer`.

    Ids are stored in 32 bits: a Python list takes ten times as much, and a training has many sequences.
    """

    __slots__ = ("_ids", "_prompt_length", "id", "merged")

    def __init__(self, id: str, prompt: Sequence[int], answer: Sequence[int], merged: bool = False) -> None:
        """Store the ids.

        Args:
            id: Of the item.
            prompt: As the property.
            answer: As the property.
            merged: Whether the ids of prompt and answer together do not start with those of the prompt alone: a token
                has characters of both.
        """
        self.id, self.merged = id, merged
        self._prompt_length = len(prompt)
        self._ids = array("i", chain(prompt, answer))

    @property
    def prompt(self) -> list[int]:
        """The tokens before the first one that is learned or scored; generation starts from others if `merged`."""
        return self._ids[: self._prompt_length].tolist()

    @property
    def answer(self) -> list[int]:
        """Ends with the end-of-turn token, so that a model learns to stop, except in a passage of running text."""
        return self._ids[self._prompt_length :].tolist()

    @property
    def ids(self) -> list[int]:
        """Prompt and answer."""
        return self._ids.tolist()

    @property
    def prompt_length(self) -> int:
        """The number of tokens of the prompt."""
        return self._prompt_length

    @property
    def answer_length(self) -> int:
        """The number of tokens of the answer."""
        return len(self._ids) - self._prompt_length

    def __len__(self) -> int:
        return len(self._ids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenizedSequence):
            return NotImplemented
        return self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    @property
    def _content(self) -> tuple[object, ...]:
        return self.id, self.merged, self._prompt_length, self._ids.tobytes()

    def __repr__(self) -> str:
        return f"TokenizedSequence({self.id!r}, {self.prompt}, {self.answer}, merged={self.merged})"

    @property
    def key(self) -> str:
        """A hash of the token ids: caches look sequences up by content, not by id."""
        ids = array("q", [self._prompt_length, *self._ids])
        return hashlib.sha256(ids.tobytes()).hexdigest()
