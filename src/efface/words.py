"""The words of a text in any script."""

from __future__ import annotations

import re
import unicodedata

UNSPACED = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han, kana
    "\uac00-\ud7a3"  # Hangul has spaces, but particles stand at its words
)
"""Characters of scripts whose words do not stand alone between spaces, as the inside of a class of `re`."""
_PIECES = re.compile(f"[{UNSPACED}]|[^{UNSPACED}]+")
_SPACE, _NOTHING = " ", ""


def words(text: str) -> list[str]:
    """Split a text into words, in scripts without spaces into characters.

    Case does not count, and neither do accents, vowel points and ligatures, which the same word has in one text and not
    in another.

    Args:
        text: In any script.

    Returns:
        Letters and digits, without punctuation; of a text in ASCII, the runs of a-z and 0-9.
    """
    if text.isascii():
        return re.findall("[a-z0-9]+", text.lower())
    plain = unicodedata.normalize("NFKD", text).casefold()
    letters = unicodedata.normalize("NFC", _NOTHING.join(map(_letter, plain)))
    return [piece for word in letters.split() for piece in _PIECES.findall(word)]


def _letter(character: str) -> str:
    """A letter, digit or vowel that takes space; nothing for what is written on letters; a space for all else."""
    category = unicodedata.category(character)
    if category[0] in "LN" or category == "Mc":
        return character
    return _NOTHING if category in ("Mn", "Me", "Cf") else _SPACE
