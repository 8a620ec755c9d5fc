"""Split running text into passages for training, and passages into a prompt and its continuation for evaluation."""

from __future__ import annotations

import re

from efface.schema import Item

MIN_SCORED = 20
"""Minimum number of characters of a passage that is scored."""

_PARAGRAPH_END = re.compile(r"(?=\n\s*\n)")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s)|[。！？][”’」』）]*")
_WORD_END = re.compile(r"(?=\s)")


def split_passages(text: str, length: int) -> tuple[str, ...]:
    """Split a text into passages.

    A passage ends at the last end of a paragraph in its second half, otherwise of a sentence, otherwise of a word,
    otherwise (in languages without spaces) anywhere.

    Args:
        text: The text.
        length: Maximum number of characters of a passage.

    Returns:
        The passages in order, without white space at their ends; only white space between passages is lost.
    """
    passages = []
    rest = text.strip()
    while len(rest) > length:
        end = _passage_end(rest, length)
        passages.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return (*passages, rest) if rest else ()


def to_continuation(passage: Item) -> Item | None:
    """Split a passage into its first half as the question and its second half as the answer.

    Args:
        passage: An item whose `answer` is the whole passage.

    Returns:
        The item; None if the passage has less than `MIN_SCORED` characters.
    """
    text = passage.answer
    if len(text) < MIN_SCORED:
        return None
    middle = _middle(text)
    return passage.model_copy(update={"question": text[:middle], "answer": text[middle:]})


def _passage_end(text: str, length: int) -> int:
    """The end of the first passage of a longer text, in its second half if possible."""
    window = text[: length + 1]
    for boundary in (_PARAGRAPH_END, _SENTENCE_END, _WORD_END):
        ends = [match.end() for match in boundary.finditer(window, length // 2) if match.end() <= length]
        if ends:
            return ends[-1]
    ends = [match.end() for match in _WORD_END.finditer(window)]
    return ends[-1] if ends else length


def _middle(text: str) -> int:
    """The start of the white space nearest to the middle, if it is in the middle half."""
    half, quarter = len(text) // 2, len(text) // 4
    spaces = [match.start() for match in re.finditer(r"\s+", text) if abs(match.start() - half) <= quarter]
    return min(spaces, key=lambda start: abs(start - half), default=half)
