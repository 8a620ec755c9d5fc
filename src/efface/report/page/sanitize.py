"""Text of models and data, made fit for a page, a table or a spreadsheet."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

from markupsafe import Markup

Segment = tuple[int, str]
"""Words of both texts (0), of the first alone (-1) or of the second alone (1)."""

_MOST_WORDS = 300
"""Texts with more are compared as a whole: the time to compare word by word grows with their product."""
_WORD = re.compile(r"\n|[^\s]+")
_IN_SCRIPTS = {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def clean(text: str) -> str:
    """The text with a visible sign in place of each control code but tabs and line breaks, and of half characters.

    Marks of direction stay: whoever shows the text isolates it.
    """
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    return "".join(each if each in "\n\t" or each.isprintable() else _sign(each) for each in text)


def differences(before: str, after: str) -> list[Segment]:
    """What two texts share and where they differ, word by word; white space counts as one space."""
    first, second = (_WORD.findall(text) for text in (before, after))
    if first == second:
        return _segments((0, first))
    if max(len(first), len(second)) > _MOST_WORDS:
        return _segments((-1, first), (1, second))
    found: list[Segment] = []
    for kind, start, end, other_start, other_end in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if kind == "equal":
            found += _segments((0, first[start:end]))
        else:
            found += _segments((-1, first[start:end]), (1, second[other_start:other_end]))
    return found


def in_script(value: object) -> Markup:
    """A value as JSON that no script element ends early or reads as markup. NaN is refused."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup("".join(_IN_SCRIPTS.get(character, character) for character in text))


def _segments(*parts: tuple[int, Sequence[str]]) -> list[Segment]:
    return [(side, " ".join(words)) for side, words in parts if words]


def _sign(character: str) -> str:
    match unicodedata.category(character):
        case "Cc" if character < " ":
            return chr(0x2400 + ord(character))
        case "Cc":
            return "\ufffd"
        case "Cs":
            return "\ufffd"
        case _:
            return character
