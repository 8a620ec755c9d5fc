"""Untrusted text, made harmless for a terminal. No torch."""

from __future__ import annotations

import unicodedata


def one_line(text: str, max_length: int | None = None) -> str:
    """Make a single line that cannot control a terminal.

    Models, data and logs may contain anything. Control codes and line breaks become spaces; invisible characters, such
    as those that change the text direction, are removed.

    Args:
        text: Any text.
        max_length: Maximum number of characters; a longer line is cut and ends with an ellipsis. None for no limit.

    Returns:
        The line, with single spaces between words and none at its ends.
    """
    line = " ".join("".join(_printable(character) for character in text).split())
    return line if max_length is None or len(line) <= max_length else f"{line[: max_length - 1]}…"


def _printable(character: str) -> str:
    match unicodedata.category(character):
        case "Cc":  # an escape code without its ESC is plain text
            return " "
        case "Cf" | "Cs":  # invisible, or half of a surrogate pair, which cannot be printed
            return ""
        case _:
            return character
