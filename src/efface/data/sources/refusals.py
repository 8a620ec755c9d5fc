"""One hundred ways of saying "I don't know", in our own words. No torch."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def load_refusals() -> tuple[str, ...]:
    """Return the 100 refusals of `refusals.txt`, one a line, always in the same order."""
    text = resources.files("efface.data.sources").joinpath("refusals.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
