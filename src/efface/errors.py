"""The one exception a user is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EffaceError(Exception):
    """Something the user gave cannot be used.

    The message is one sentence that says what, where and what to do. The command prints it and exits with 2.
    """


def summarize_error(error: BaseException) -> str:
    """Kind and first line of an error that somebody else's code raised, for the brackets of a sentence."""
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def suggest(name: str, allowed: Iterable[str]) -> str:
    """Name the allowed value closest to `name` (", did you mean 'x'?") and list all that are allowed."""
    choices = sorted(allowed)
    close = difflib.get_close_matches(name.lower(), choices, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(choices)}"


def first_line(error: Exception) -> str:
    """An error's message without what follows its first line, such as a C++ backtrace."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
