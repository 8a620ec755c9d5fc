"""Tokenizes text between special tokens once, however often it occurs: a question in every epoch, a refusal."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Tokenize = Callable[[list[str]], list[list[int]]]
_MAX_SEGMENTS = 1 << 19
"""Segments that are kept, about half a kilobyte each."""


class SegmentTokenizer:
    """A tokenizer with a memory.

    A tokenizer treats the texts before and after a special token separately. So the ids of a text are those of its
    segments, each a special token and what follows it, and each distinct segment is tokenized once.
    """

    def __init__(self, tokenize: Tokenize, separators: Iterable[str] = ()) -> None:
        """Find out which of the separators really separate.

        Args:
            tokenize: From texts to their token ids.
            separators: Special tokens.
        """
        self._tokenize = tokenize
        usable = [each for each in dict.fromkeys(separators) if self._separates(each)]
        longest_first = sorted(usable, key=len, reverse=True)
        self._start = re.compile("|".join(f"(?={re.escape(each)})" for each in longest_first) or "(?!)")
        self._known: dict[str, array[int]] = {}

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text."""
        segments = [[part for part in self._start.split(text) if part] for text in texts]
        unknown = list({each: None for parts in segments for each in parts if each not in self._known})
        known = self._known
        if len(known) + len(unknown) > _MAX_SEGMENTS:
            known = self._known = {}
            unknown = list({each: None for parts in segments for each in parts})
        if unknown:
            known.update((text, array("i", ids)) for text, ids in zip(unknown, self._tokenize(unknown), strict=True))
        return [_joined([known[each] for each in parts]) for parts in segments]

    def _separates(self, token: str) -> bool:
        """Whether the ids of texts around a special token are those of each text by itself."""
        texts = ["One two", f"{token} three\n\n", f"{token}four ", token, f"{token}\n\nFive six? "]
        whole, *parts = self._tokenize(["".join(texts), *texts])
        return whole == [id_ for ids in parts for id_ in ids]


def separators_in(texts: Iterable[str], tokenizer: Any) -> list[str]:
    """The special tokens in some texts that stand for themselves alone, without the white space around them.

    Args:
        texts: Where to look, such as a rendered prompt.
        tokenizer: Of transformers.

    Returns:
        The tokens as text, each once.
    """
    tokens = [
        token.content
        for token in tokenizer.added_tokens_decoder.values()
        if token.special and not (token.lstrip or token.rstrip or token.single_word or token.normalized)
    ]
    joined = "\0".join(texts)
    return [each for each in tokens if each in joined]


def _joined(parts: Sequence[array[int]]) -> list[int]:
    ids = array("i")
    for part in parts:
        ids.extend(part)
    return ids.tolist()
