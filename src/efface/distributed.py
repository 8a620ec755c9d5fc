"""The processes that work on one run: the identity of this one, and collective operations.

They are started by `torchrun` or `accelerate launch` and run the same program. Every process must reach each collective
operation here. Before `init_process_group`, and in a process started alone, the world size is 1 and nothing waits.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from efface.errors import EffaceError, first_line

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


class DistributedError(EffaceError):
    """One of several processes failed; raised in every process that notices."""


@dataclass
class _Group:
    """The connected processes."""

    rank: int = 0
    world_size: int = 1
    cpu_group: Any = None
    """torch's gloo group for Python objects; None before `init_process_group`."""
    before_exchange: Callable[[], None] | None = None
    """Called before objects are exchanged; see `waiting_before_exchange`."""


_group = _Group()


def launched_world_size() -> int:
    """Number of processes that the launcher started, connected or not."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def launched_rank() -> int:
    """Index of this process among those that the launcher started, connected or not; 0 in a process started alone."""
    return int(os.environ.get("RANK", "0")) if launched_world_size() > 1 else 0


def world_size() -> int:
    """Number of connected processes."""
    return _group.world_size


def rank() -> int:
    """Index of this process among them, from 0."""
    return _group.rank


def local_rank() -> int:
    """Index of this process on its machine: the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def local_world_size() -> int:
    """Number of processes on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", _group.world_size))


def is_main_process() -> bool:
    """Whether this is rank 0, which writes files."""
    return _group.rank == 0


def init_process_group(device_type: str) -> None:
    """Connect to the other processes of the launcher; does nothing if there are none or they are connected.

    Args:
        device_type: For tensors on `cuda` NCCL is used, else gloo.

    Raises:
        DistributedError: The processes cannot connect.
    """
    global _group  # noqa: PLW0603 - a process belongs to one group, as in torch.distributed
    if launched_world_size() == 1 or _group.cpu_group is not None:
        return
    import torch.distributed as dist

    if not dist.is_initialized():
        if device_type == "cuda":
            import torch

            torch.cuda.set_device(local_rank())
        try:
            dist.init_process_group("cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo")
        except (ValueError, RuntimeError) as error:
            raise DistributedError(
                f"WORLD_SIZE={launched_world_size()} means that this is one of several processes, but they cannot "
                f"connect ({first_line(error)}); start efface with torchrun or accelerate launch, or unset WORLD_SIZE"
            ) from error
    _group = _Group(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo"))
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        _set_sigterm_handler(_raise_terminated)  # a command has a handler of its own
    if device_type != "cuda":  # NCCL would wait for the other processes, which may have failed
        atexit.register(_disconnect)


def barrier() -> None:
    """Wait until every process is here."""
    all_gather(None)


def all_gather(value: T) -> list[T]:
    """Exchange a Python object.

    Args:
        value: Of this process; can be pickled.

    Returns:
        The values of all processes by rank; the same list in each.

    Raises:
        DistributedError: Another process ended.
    """
    if _group.world_size == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] = [None] * _group.world_size
    with _exchange():
        dist.all_gather_object(values, value, group=_group.cpu_group)
    return values


def gather(value: T) -> list[T]:
    """Send a Python object to the main process, the only one that then has the objects of all.

    Args:
        value: Of this process; can be pickled.

    Returns:
        The values of all processes by rank, in the main process; none in the others.

    Raises:
        DistributedError: Another process ended.
    """
    if _group.world_size == 1:
        return [value]
    import torch.distributed as dist

    values: list[Any] | None = [None] * _group.world_size if is_main_process() else None
    with _exchange():
        dist.gather_object(value, values, group=_group.cpu_group)
    return values or []


def scatter(values: Sequence[T] | None) -> list[T]:
    """Divide what the main process has among all.

    Args:
        values: Of the main process; None in the others.

    Returns:
        Every `world_size`th value from that of this process's rank on.

    Raises:
        DistributedError: Another process ended.
    """
    count = _group.world_size
    if count == 1:
        return list(values or ())
    import torch.distributed as dist

    parts = None if values is None else [list(values[of_rank::count]) for of_rank in range(count)]
    own: list[Any] = [None]
    with _exchange():
        dist.scatter_object_list(own, parts, group=_group.cpu_group)
    return cast("list[T]", own[0])


def any_process(value: bool) -> bool:
    """Whether `value` is true in at least one process; the same answer in each.

    Raises:
        DistributedError: Another process ended.
    """
    if _group.world_size == 1:
        return value
    import torch
    import torch.distributed as dist

    largest = torch.tensor(int(value))
    with explain_lost_peer():
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=_group.cpu_group)
    return bool(largest)


def all_reduce_sum(values: Tensor) -> Tensor:
    """The sum of a tensor over the processes, elementwise, in place; on the device of the model.

    Raises:
        DistributedError: Another process ended.
    """
    if _group.world_size > 1:
        import torch.distributed as dist

        with explain_lost_peer():
            dist.all_reduce(values)
    return values


@contextmanager
def waiting_before_exchange(wait: Callable[[], None]) -> Iterator[None]:
    """Inside, `wait` is called before each exchange of objects, and at the end of the block.

    Args:
        wait: Returns once every process has called it; takes part in the collective operations of those that have not.
    """
    _group.before_exchange = wait
    try:
        yield
        wait()
    finally:
        _group.before_exchange = None


@contextmanager
def as_only_process() -> Iterator[None]:
    """Inside, the world size is 1."""
    global _group  # noqa: PLW0603
    connected, _group = _group, _Group()
    try:
        yield
    finally:
        _group = connected


@contextmanager
def _exchange() -> Iterator[None]:
    """The context of an exchange of objects."""
    if _group.before_exchange is not None:
        _group.before_exchange()
    with explain_lost_peer():
        yield


@contextmanager
def explain_lost_peer() -> Iterator[None]:
    """Replace the error of a collective operation whose peer ended.

    Raises:
        DistributedError: Another process ended or does not answer.
    """
    try:
        yield
    except RuntimeError as error:
        if _group.world_size > 1 and _is_lost_peer(error):
            # the launcher terminates this process, too: not before it has reported the error and ended by itself
            _set_sigterm_handler(signal.SIG_IGN)
            raise DistributedError(
                f"process {_group.rank} of {_group.world_size} lost another one, which ended or does not answer; see "
                "the message of that one, then continue with --resume"
            ) from error
        raise


def _is_lost_peer(error: RuntimeError) -> bool:
    """Whether a collective operation failed because a peer ended: gloo has no error type of its own."""
    import torch.distributed as dist

    words = ("gloo", "Connection closed", "Connection reset", "Broken pipe", "Timed out", "NCCL")
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)


def _disconnect() -> None:
    """Stop gloo's threads: one that still runs while Python ends can abort the process."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def _set_sigterm_handler(handler: Any) -> None:
    """Handle the launcher's signal to stop; Python allows it in the main thread only."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _raise_terminated(*_: object) -> None:
    """The launcher stops all processes when one ends."""
    _set_sigterm_handler(signal.SIG_IGN)
    raise DistributedError(
        f"process {_group.rank} of {_group.world_size} was terminated, as happens when another one ended; see the "
        "message of that one, then continue with --resume"
    )
