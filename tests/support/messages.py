"""Checks of messages: what they name, not their wording."""

from __future__ import annotations


def assert_names(message: str, *parts: str) -> None:
    """A message must have all of `parts`: what is wrong, where, and the remedy."""
    missing = [part for part in parts if part not in message]
    assert not missing, f"{message!r} does not name {missing}"
