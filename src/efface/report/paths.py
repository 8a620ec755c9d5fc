"""Paths in what people publish: without the folders of this machine and the names of its users. No torch."""

from __future__ import annotations

import os
import re
from pathlib import Path

_HOME = r"(?:/home/[^/\s\"':,\\]+|/Users/[^/\s\"':,\\]+|/root|[A-Za-z]:\\+Users\\+[^\\/\s\"':,]+)"
_END = r"(?=[/\\\s\"':,)\]}]|$)"
_START = r"(?<![\w./\\~-])"


def shorten_paths(text: str) -> str:
    """Write paths below the working directory relative to it, and home folders, of any user, as `~`.

    Args:
        text: Settings, a command line or a manifest; not texts of the data, in which a path is content.
    """
    home, here = os.path.expanduser("~"), str(Path.cwd())  # noqa: PTH111 - Path.home raises where there is none
    if here not in ("/", home):
        below = rf"{_START}{re.escape(here)}(?:/(?=[^\s\"'])|{_END})"
        text = re.sub(below, lambda found: "" if found[0].endswith("/") else ".", text)
    for place in ([re.escape(home)] if len(home) > 1 else []) + [_HOME]:
        text = re.sub(rf"{_START}{place}{_END}", "~", text)
    return text
