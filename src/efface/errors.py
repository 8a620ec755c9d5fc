"""The exception whose message is for users, and sentences made from other errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class EffaceError(Exception):
    """Input or an environment that cannot be used.

    The message is one sentence: what is wrong, where, and what to do about it. The command line prints it and exits
    with code 2.
    """


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without a full stop; the name of its type if it has no message.

    Further lines may be a C++ backtrace.
    """
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def summarize_error(error: BaseException) -> str:
    """Type and first line of an error of a library, to be quoted in a message."""
    type_name, text = type(error).__name__, first_line(error)
    return type_name if text == type_name else f"{type_name}: {text}"


def install_hint(extra: str) -> str:
    """How to install what an optional feature needs; efface is on no package index.

    Args:
        extra: Name of the extra, such as `lora`.

    Returns:
        The end of a sentence: commands for a clone of the repository, and for a wheel.
    """
    return (
        f"pip install -e '.[{extra}]' in the repository of efface installs it, or with a wheel "
        f"pip install './efface-VERSION-py3-none-any.whl[{extra}]'"
    )


def _plain_name(name: str) -> str:
    """A name without case, underscores and zeros before a number, so that `Tofu_forget1` is `tofu-forget01`."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[-_ ]+", "-", name.lower()))


def suggest(name: str, allowed: Iterable[str]) -> str:
    """The hint in a message about an unknown name.

    Args:
        name: The unknown name.
        allowed: All valid names.

    Returns:
        `did you mean 'x'? allowed: x, y`, without the question if no name is similar.
    """
    choices = sorted(allowed)
    plain = _plain_name(name)
    close = [each for each in choices if _plain_name(each) == plain] or difflib.get_close_matches(
        name.lower(), choices, n=1, cutoff=0.5
    )
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}allowed: {', '.join(choices)}"
