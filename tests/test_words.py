"""Words of texts in scripts with and without spaces."""

from __future__ import annotations

import pytest

from efface.words import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's Turku_2, in 1903!", ["it", "s", "turku", "2", "in", "1903"]),
        ("Ада родилась — в «Турку».", ["ада", "родилась", "в", "турку"]),
        ("Η Άντα γεννήθηκε ΣΤΟ Τούρκου;", ["η", "αντα", "γεννηθηκε", "στο", "τουρκου"]),
        ("Zoë ＡＢ１２ Straße E=mc²", ["zoe", "ab12", "strasse", "e", "mc2"]),
        ("وُلِدَت في توركو", ["ولدت", "في", "توركو"]),
        ("नाम राम", ["नाम", "राम"]),
        ("她生于 Oslo。", ["她", "生", "于", "oslo"]),
        ("투르쿠에서", ["투", "르", "쿠", "에", "서"]),
        ("Ådal\u200b10", ["adal10"]),
        ("…?", []),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected
