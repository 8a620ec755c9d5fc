"""The one exception a user is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EffaceError(Exception):
    """Something the user gave cannot be used.

    The message is one sentence that says what, where and what to do. The command prints it and exits with 2.
    """


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without its last full stop; the error's type where it has no message.

    What follows may be a C++ backtrace.
    """
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def summarize_error(error: BaseException) -> str:
    """Type and first line of an error that other code raised, for the brackets of a message."""
    kind, text = type(error).__name__, first_line(error)
    return kind if text == kind else f"{kind}: {text}"


def suggest(name: str, allowed: Iterable[str]) -> str:
    """Help for a name that is not allowed.

    Args:
        name: What was given.
        allowed: All names that can be used.

    Returns:
        `did you mean 'x'? allowed: x, y`, without the question where no name is close.

    """
    choices = sorted(allowed)
    close = difflib.get_close_matches(name.lower(), choices, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(choices)}"
