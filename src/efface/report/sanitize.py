"""Text from elsewhere, made harmless for a terminal. No torch."""

from __future__ import annotations

import unicodedata


def one_line(text: str, longest: int | None = None) -> str:
    """The text as one line that cannot steer a terminal: no control codes, no line breaks, no marks of direction.

    Models, data and logs may hold anything. What is longer than `longest` characters is cut and ends with an
    ellipsis.
    """
    line = " ".join("".join(_harmless(character) for character in text).split())
    return line if longest is None or len(line) <= longest else f"{line[: longest - 1]}…"


def _harmless(character: str) -> str:
    match unicodedata.category(character):
        case "Cc":  # an escape code without its ESC is mere text
            return " "
        case "Cf" | "Cs":  # invisible, such as right-to-left marks; or half a character, which nothing can print
            return ""
        case _:
            return character
