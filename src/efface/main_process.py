"""What the main process does alone for all, and what it collects from all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from efface import distributed
from efface.errors import EffaceError

T = TypeVar("T")


def on_main_process(work: Callable[[], T]) -> T | None:
    """Run `work` in the main process only, where it counts as the only process; the others wait for it.

    Returns:
        What it returned, in the main process; None in the others.

    Raises:
        EffaceError: `work` raised it; in every process.
    """
    result = None

    def keep() -> None:
        nonlocal result
        result = work()

    from_main_process(keep)
    return result


def from_main_process(work: Callable[[], T]) -> T:
    """Run `work` as `on_main_process` does, and send what it returns, which can be pickled, to every process.

    Raises:
        EffaceError: `work` raised it; in every process.
    """
    result: Any = None
    failure: EffaceError | None = None
    if distributed.is_main_process():
        with distributed.as_only_process():
            try:
                result = work()
            except EffaceError as error:
                failure = error
    result, of_main_process = distributed.all_gather((result, failure))[0]
    if of_main_process is not None:
        raise failure or of_main_process
    return cast("T", result)


def map_over_ranks(total: int, work: Callable[[list[int]], Sequence[T]]) -> list[T]:
    """Divide pieces of work among the processes.

    Args:
        total: Number of pieces.
        work: Takes the ascending indices of this process's pieces, and returns one result for each.

    Returns:
        The results of all pieces in order, in the main process; none in the others.
    """
    world_size = distributed.world_size()
    by_rank = distributed.gather(list(work(list(range(distributed.rank(), total, world_size)))))
    return [by_rank[index % world_size][index // world_size] for index in range(total)] if by_rank else []
