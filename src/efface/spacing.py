"""Deterministic subsampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def evenly_spaced(items: Sequence[T], count: int) -> tuple[T, ...]:
    """Choose evenly spaced items.

    Args:
        items: The sequence to choose from.
        count: Maximum number of items to choose.

    Returns:
        At most `count` of the items, in their order and including the first one.
    """
    count = min(count, len(items))
    return tuple(items[index * len(items) // count] for index in range(count))
