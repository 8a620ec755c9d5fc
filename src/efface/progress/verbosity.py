"""How much a command prints while it works: `--quiet` and `--verbose`. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Verbosity = Literal["quiet", "normal", "verbose"]
"""`quiet`: warnings alone. `verbose`: a line for every optimizer step, and messages of libraries."""

_verbosity: ContextVar[Verbosity] = ContextVar("verbosity", default="normal")


def current_verbosity() -> Verbosity:
    """How much is printed here."""
    return _verbosity.get()


@contextmanager
def verbosity(chosen: Verbosity) -> Iterator[None]:
    """Print so much inside this block."""
    token = _verbosity.set(chosen)
    try:
        yield
    finally:
        _verbosity.reset(token)
