"""Groups of sequences that go through a model at once: in parts where the GPU's memory does not hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

from efface.errors import EffaceError

T = TypeVar("T")


def map_with_oom_backoff(
    groups: Iterable[list[int]], read: Callable[[list[int]], list[T]], *, named: Callable[[int], str]
) -> Iterator[tuple[list[int], list[T]]]:
    """Yield each group of indices, as given, with what `read` gives for it.

    Where the GPU's memory runs out, that group and all behind it are read in twice as many parts. Raises
    `EffaceError` where it does not hold one index alone; `named` says what that is.
    """
    parts = 1
    for group in groups:
        while (found := _read(group, parts, read, named)) is None:
            parts *= 2
            torch.cuda.empty_cache()  # only here: until the error is dealt with, it keeps its tensors alive
        yield group, found


def _read(
    group: list[int], parts: int, read: Callable[[list[int]], list[T]], named: Callable[[int], str]
) -> list[T] | None:
    """What `read` gives for the `parts` of a group, joined; None where one of them does not fit."""
    size = -(-len(group) // parts)
    try:
        return [each for start in range(0, len(group), size) for each in read(group[start : start + size])]
    except torch.OutOfMemoryError as error:
        if size == 1:
            raise EffaceError(f"the GPU's memory does not hold {named(group[0])}") from error
        return None
