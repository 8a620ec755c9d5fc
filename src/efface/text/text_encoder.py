"""Text as token ids, in which special tokens are either recognized or ordinary text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from threading import Lock
from typing import Any

from efface.errors import EffaceError, first_line
from efface.text.segments import SegmentTokenizer, separators_in

_ONE_AT_A_TIME = Lock()
"""A tokenizer sets whether it splits special tokens at each call: calls of two threads at once would mix it up."""
_BEFORE = ("\n", "a", ":", "1")
"""Texts of which one does not merge with whatever follows it."""


@contextmanager
def _tokenizing() -> Iterator[None]:
    """Hold the tokenizer, and make an `EffaceError` of the error of its library that is no `Exception`.

    It is raised where a regular expression of tokenizer.json has tried too many ways to match a text.
    """
    with _ONE_AT_A_TIME:
        try:
            yield
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            raise EffaceError(
                f"the tokenizer stopped at a text ({first_line(error)}); correct the regular expressions in its "
                "tokenizer.json, or give another tokenizer"
            ) from error


class TextEncoder:
    """Tokenizes parts of a text as the tokenizer tokenizes the whole text, never with a BOS of its own.

    Args:
        tokenizer: of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._special = {id_: token for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._ids = {token.content: id_ for id_, token in self._special.items()}
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._segments = SegmentTokenizer(self._whole_text)
        self._pattern = re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")

    def has_special(self, text: str) -> bool:
        """Whether a text contains a special token."""
        return self._pattern.search(text) is not None

    def before_special(self, text: str) -> tuple[str, int | None]:
        """The text before the first special token, and the token's id; None if there is none."""
        first, *others = self._pattern.split(text, maxsplit=1)
        special = self._ids[others[0]] if others else None
        return self._strip(first, None, special), special

    def template_text(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of texts in which special tokens are recognized."""
        return self._segments(texts)

    def separate_at(self, texts: Sequence[str]) -> None:
        """Tokenize what is between the special tokens in these texts once, however often it occurs."""
        self._segments = SegmentTokenizer(self._whole_text, separators_in(texts, self.tokenizer))

    def _whole_text(self, texts: list[str]) -> list[list[int]]:
        with _tokenizing():
            return list(self.tokenizer(texts, add_special_tokens=False).input_ids)

    def token_starts(self, text: str) -> list[int]:
        """The character at which each token of `plain_text` starts."""
        if getattr(self.tokenizer, "is_fast", False):
            with _tokenizing():
                encoded = self.tokenizer(
                    text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
                )
            return [start for start, _ in encoded.offset_mapping]
        starts, position = [], 0
        for token in self.plain_text(text):
            starts.append(position)
            position = min(len(text), position + len(self.tokenizer.decode([token])))
        return starts

    def plain_text(self, text: str) -> list[int]:
        """Ids of a text in which special tokens are ordinary text: they must not end the turn."""
        with _tokenizing():
            return list(self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids)

    def continuation(self, text: str) -> list[int]:
        """Ids of plain text that follows other text.

        Tokenizers of the sentencepiece kind put a space in front of a text; here there is none.
        """
        return self._after_other_text(text) if self._adds_space else self.plain_text(text)

    def mixed(self, pieces: Sequence[str]) -> list[int]:
        """Ids of a text whose pieces alternate between a template's, the first one, and plain text.

        What is between two special tokens of the template is tokenized together, as in the tokenizer itself.
        """
        parts = [""]  # plain text and special tokens alternate
        for index, piece in enumerate(pieces):
            first, *others = [piece] if index % 2 else self._pattern.split(piece)
            parts[-1] += first
            parts += others
        ids: list[int] = []
        for index in range(0, len(parts), 2):
            before = self._id(parts, index - 1)
            ids += [] if before is None else [before]
            text = self._strip(parts[index], before, self._id(parts, index + 1))
            if text:
                continues = before is not None and self._space_only_at_start
                ids += self.continuation(text) if continues else self.plain_text(text)
        return ids

    def _id(self, parts: Sequence[str], index: int) -> int | None:
        """The id of a special token in `parts`; None before the first and after the last part."""
        return self._ids[parts[index]] if 0 <= index < len(parts) else None

    def _strip(self, text: str, before: int | None, after: int | None) -> str:
        """A text without the white space that the special tokens next to it take."""
        text = text.lstrip() if before is not None and self._special[before].rstrip else text
        return text.rstrip() if after is not None and self._special[after].lstrip else text

    @cached_property
    def _adds_space(self) -> bool:
        return self.plain_text("\na") != self.plain_text("\n") + self.plain_text("a")

    @cached_property
    def _space_only_at_start(self) -> bool:
        """Whether the tokenizer puts a space in front of a text, and none after a special token."""
        after = next((each for each in self._special.values() if not (each.lstrip or each.rstrip)), None)
        if after is None or not self._adds_space:
            return False
        return self.template_text([after.content + "a"])[0][1:] != self.plain_text("a")

    def _after_other_text(self, text: str) -> list[int]:
        for before in _BEFORE:
            alone, joint = self.plain_text(before), self.plain_text(before + text)
            if joint[: len(alone)] == alone:
                return joint[len(alone) :]
        return self.plain_text(text)
