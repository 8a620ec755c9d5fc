"""Batches that are split into smaller parts when the GPU runs out of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

from efface.errors import EffaceError

T = TypeVar("T")


def map_with_oom_backoff(
    batches: Iterable[list[int]], process: Callable[[list[int]], list[T]], *, describe: Callable[[int], str]
) -> Iterator[tuple[list[int], list[T]]]:
    """Apply `process` to batches of indices; after running out of GPU memory, to smaller parts of them.

    Args:
        batches: indices, batch by batch.
        process: computes one result for each of the given indices.
        describe: says what one index requires, for the error message, such as "the 40 tokens of item 'a'".

    Yields:
        Each batch as given, with its results. If one does not fit into memory, it and all later batches are
        processed in twice as many parts.

    Raises:
        EffaceError: the memory of the GPU is too small for a single index.
    """
    parts = 1
    for batch in batches:
        while (results := _process_in_parts(batch, parts, process, describe)) is None:
            parts *= 2
            torch.cuda.empty_cache()  # not in the except block, where the error still holds its tensors
        yield batch, results


def _process_in_parts(
    batch: list[int], parts: int, process: Callable[[list[int]], list[T]], describe: Callable[[int], str]
) -> list[T] | None:
    """The joined results of the `parts` of a batch; None if one of them does not fit into memory."""
    size = -(-len(batch) // parts)
    try:
        return [each for start in range(0, len(batch), size) for each in process(batch[start : start + size])]
    except torch.OutOfMemoryError as error:
        if size == 1:
            raise EffaceError(f"the GPU's memory does not hold {describe(batch[0])}") from error
        return None
