"""One hundred answers such as "I don't know", written for efface. No torch."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def load_refusals() -> tuple[str, ...]:
    """The 100 refusals of `refusals.txt`, always in the same order."""
    text = resources.files("efface.data.sources").joinpath("refusals.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
