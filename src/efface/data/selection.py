"""Choose a few of many, without chance. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from efface.schema import Item


def evenly_spaced(items: Sequence[Item], count: int) -> tuple[Item, ...]:
    """Return at most `count` of the items, in their order and at even distances, the first one included."""
    count = min(count, len(items))
    return tuple(items[position * len(items) // count] for position in range(count))
