"""Choose a few of many, without chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def evenly_spaced(items: Sequence[T], count: int) -> tuple[T, ...]:
    """Choose at even distances.

    Args:
        items: What to choose from.
        count: How many at most.

    Returns:
        At most `count` of the items in their order, the first one included.

    """
    count = min(count, len(items))
    return tuple(items[place * len(items) // count] for place in range(count))
