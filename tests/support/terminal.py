"""What a function prints in a terminal of a given width."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rich.console import Console

_UNSAFE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printed(width: int, function: Callable[..., None], *arguments: Any, **options: Any) -> str:
    """Call `function` with a console; its output fits the width and contains no control characters."""
    console = Console(width=width, color_system=None, force_terminal=True)
    with console.capture() as captured:
        function(console, *arguments, **options)
    text = captured.get()
    assert all(len(line) <= width for line in text.splitlines())
    assert not _UNSAFE.search(text)
    return text


def rows(text: str) -> list[list[str]]:
    """The words of each line."""
    return [line.split() for line in text.splitlines()]
