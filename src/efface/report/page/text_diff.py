"""Where two answers differ, word by word. No torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TypeAlias

Segment: TypeAlias = tuple[int, str]
"""Words of both texts (0), of the first only (-1) or of the second only (1)."""

_MAX_WORDS = 300
"""Longer texts are compared as a whole: the time to compare word by word grows with the product of their lengths."""
_WORD = re.compile(r"\n|[^\s]+")


def text_diff(before: str, after: str) -> list[Segment]:
    """Compare two texts word by word.

    Args:
        before: First text.
        after: Second text.

    Returns:
        Segments in order; any white space counts as one space.
    """
    first, second = (_WORD.findall(text) for text in (before, after))
    if first == second:
        return _segments((0, first))
    if max(len(first), len(second)) > _MAX_WORDS:
        return _segments((-1, first), (1, second))
    segments: list[Segment] = []
    for tag, start, end, other_start, other_end in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if tag == "equal":
            segments += _segments((0, first[start:end]))
        else:
            segments += _segments((-1, first[start:end]), (1, second[other_start:other_end]))
    return segments


def _segments(*parts: tuple[int, Sequence[str]]) -> list[Segment]:
    return [(side, " ".join(words)) for side, words in parts if words]
