"""Untrusted text, made safe for a page and for data in a script. No torch."""

from __future__ import annotations

import json
import re
import unicodedata

from markupsafe import Markup

_UNSAFE_IN_SCRIPT = re.compile("[<>&\u2028\u2029]")


def visible_controls(text: str) -> str:
    """Replace control codes and unpaired surrogates with visible signs.

    Characters that change the text direction stay: the page isolates each text in a `bdi` element.

    Args:
        text: Any text.

    Returns:
        The text, in which tabs and line breaks are the only control codes.
    """
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    return "".join(each if each in "\n\t" or each.isprintable() else _sign(each) for each in text)


def script_json(value: object) -> Markup:
    """Serialize data for a script element.

    Args:
        value: Anything that JSON can express.

    Returns:
        JSON that neither ends the script element nor contains markup.

    Raises:
        ValueError: `value` contains NaN or an infinity.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(_UNSAFE_IN_SCRIPT.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def _sign(character: str) -> str:
    match unicodedata.category(character):
        case "Cc" if character < " ":
            return chr(0x2400 + ord(character))
        case "Cc" | "Cs":
            return "\ufffd"
        case _:
            return character
