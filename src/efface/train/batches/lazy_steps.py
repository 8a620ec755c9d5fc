"""Steps of a long training, made shortly before they are needed, in a thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, overload

T = TypeVar("T")
STEPS_PER_BLOCK = 16
"""Steps that are made together: few enough to have the first one at once, enough for a tokenizer's batches."""


class LazySteps(Sequence[T]):
    """A sequence whose elements are made in blocks. Reading a block begins to make the next one in a thread."""

    def __init__(self, count: int, make: Callable[[range], Sequence[T]]) -> None:
        """Make nothing yet.

        Args:
            count: The number of steps.
            make: From consecutive indices to what these steps are; the same at every call.
        """
        self._count, self._make = count, make
        self._block: tuple[int, Sequence[T]] | None = None
        self._next: tuple[int, Future[Sequence[T]]] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="steps")

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(self._count))]
        if index < 0:
            index += self._count
        if not 0 <= index < self._count:
            raise IndexError(index)
        number, offset = divmod(index, STEPS_PER_BLOCK)
        return self._read(number)[offset]

    def first_block(self) -> Sequence[T]:
        """The first steps."""
        return self._read(0)

    def _read(self, number: int) -> Sequence[T]:
        if self._block is not None and self._block[0] == number:
            return self._block[1]
        made = self._take(number)
        self._block = number, made
        if (number + 1) * STEPS_PER_BLOCK < self._count:
            self._next = number + 1, self._pool.submit(self._make, self._indices(number + 1))
        return made

    def _take(self, number: int) -> Sequence[T]:
        """The block from the thread if it is making that one; else made here, when the thread is idle."""
        begun, self._next = self._next, None
        if begun is not None:
            made = begun[1].result()  # a tokenizer must not be used by two threads at once
            if begun[0] == number:
                return made
        return self._make(self._indices(number))

    def _indices(self, number: int) -> range:
        start = number * STEPS_PER_BLOCK
        return range(start, min(start + STEPS_PER_BLOCK, self._count))


def known_steps(steps: Sequence[T]) -> Sequence[T]:
    """The steps that can be read at once: all of them, or the first ones of a long training."""
    return steps.first_block() if isinstance(steps, LazySteps) else steps
