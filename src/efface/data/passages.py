"""Running text, cut into passages that a model is trained on, and these into a beginning and its continuation."""

from __future__ import annotations

import re

from efface.schema import Item

MIN_SCORED = 20
"""A passage of fewer characters has no halves worth a question and an answer."""

_PARAGRAPH = re.compile(r"(?=\n\s*\n)")
_SENTENCE = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s)|[。！？][”’」』）]*")
_WORD = re.compile(r"(?=\s)")


def split_passages(text: str, length: int) -> tuple[str, ...]:
    """Cut a text into passages of at most `length` characters, in order, without white space at their ends.

    A passage ends with a paragraph where one ends in its second half, else with a sentence, else with a word, else
    (in languages without spaces) anywhere. Nothing is lost but the white space between passages.
    """
    passages = []
    rest = text.strip()
    while len(rest) > length:
        end = _end(rest, length)
        passages.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return (*passages, rest) if rest else ()


def to_continuation(passage: Item) -> Item | None:
    """Return the item that asks for a passage's second half after its first; None for a passage too short for that."""
    text = passage.answer
    if len(text) < MIN_SCORED:
        return None
    middle = _middle(text)
    return passage.model_copy(update={"question": text[:middle], "answer": text[middle:]})


def _end(text: str, length: int) -> int:
    """Where the passage that starts a longer text ends: not in its first half if that can be helped."""
    window = text[: length + 1]
    for border in (_PARAGRAPH, _SENTENCE, _WORD):
        ends = [match.end() for match in border.finditer(window, length // 2) if match.end() <= length]
        if ends:
            return ends[-1]
    ends = [match.end() for match in _WORD.finditer(window)]
    return ends[-1] if ends else length


def _middle(text: str) -> int:
    """The start of the white space nearest to the middle, if it is within the middle half."""
    half, quarter = len(text) // 2, len(text) // 4
    spaces = [match.start() for match in re.finditer(r"\s+", text) if abs(match.start() - half) <= quarter]
    return min(spaces, key=lambda start: abs(start - half), default=half)
