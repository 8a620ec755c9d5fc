"""Several processes that work on one run: who this one is, and what all of them do together.

They are those of `torchrun` or `accelerate launch`, and all run the same program: whatever is collective here must be
reached by each of them. Until `init_process_group`, and in a process started alone, this one is the only one and nothing waits.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from efface.errors import EffaceError, first_line

T = TypeVar("T")


class DistributedError(EffaceError):
    """What went wrong in one of several processes; each that sees it tells it."""


@dataclass
class _Group:
    """The processes that are connected; `host` is torch's group for messages between them."""

    rank: int = 0
    count: int = 1
    host: Any = None


_group = _Group()


def launched_world_size() -> int:
    """How many processes the launcher started, connected or not."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def world_size() -> int:
    """How many processes are connected."""
    return _group.count


def rank() -> int:
    """Which of them this is, from 0."""
    return _group.rank


def local_rank() -> int:
    """Which of those on its machine this is: the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_main_process() -> bool:
    """Whether this is the process that writes files."""
    return _group.rank == 0


def init_process_group(device_type: str) -> None:
    """Find the other processes, once; `device_type` decides how tensors travel: NCCL for `cuda`, else gloo.

    Raises `DistributedError` where they do not find each other.
    """
    global _group  # noqa: PLW0603 - a process belongs to one group, as in torch.distributed
    if launched_world_size() == 1 or _group.host is not None:
        return
    import torch.distributed as dist

    if not dist.is_initialized():
        if device_type == "cuda":
            import torch

            torch.cuda.set_device(local_rank())
        try:
            dist.init_process_group("cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo")
        except (ValueError, RuntimeError) as error:
            problem = first_line(error)
            raise DistributedError(
                f"WORLD_SIZE={launched_world_size()} says that this is one of several processes, and they do not find each other "
                f"({problem}); start efface by torchrun or accelerate launch, or unset WORLD_SIZE"
            ) from error
    _group = _Group(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo"))
    _on_sigterm(_raise_stopped)


def barrier() -> None:
    """Wait for all processes."""
    all_gather(None)


def all_gather(value: T) -> list[T]:
    """What each process gives, in the order of their ranks: the same list for all."""
    if _group.count == 1:
        return [value]
    import torch.distributed as dist

    found: list[Any] = [None] * _group.count
    with explain_lost_peer():
        dist.all_gather_object(found, value, group=_group.host)
    return found


def on_main_process(work: Callable[[], None]) -> None:
    """Let the first process do this alone; the others wait until it is done."""
    if is_main_process():
        with _as_only_process():
            work()
    barrier()


def map_over_ranks(total: int, work: Callable[[list[int]], Sequence[T]]) -> list[T]:
    """Results of `total` pieces of work, in order, of which each process does its part.

    `work` takes numbers of pieces, rising, and gives one result for each.
    """
    mine = list(range(_group.rank, total, _group.count))
    done = all_gather(list(work(mine)))
    return [done[number % _group.count][number // _group.count] for number in range(total)]


@contextmanager
def explain_lost_peer() -> Iterator[None]:
    """Say it in words where another process ends while this one waits for it. Raises `DistributedError`."""
    try:
        yield
    except RuntimeError as error:
        if _group.count > 1 and _is_lost_peer(error):
            _on_sigterm(
                signal.SIG_IGN
            )  # the launcher stops this one, too: not before it has said so, and ended by itself
            raise DistributedError(
                f"process {_group.rank} of {_group.count} lost another one, which ended or does not answer; look at "
                "what that one said, then go on with --resume"
            ) from error
        raise


def _is_lost_peer(error: RuntimeError) -> bool:
    """Whether a collective failed for want of a partner: gloo has no type of error of its own."""
    import torch.distributed as dist

    words = ("gloo", "Connection closed", "Connection reset", "Broken pipe", "Timed out", "NCCL")
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)


@contextmanager
def _as_only_process() -> Iterator[None]:
    """Inside, this process is the only one."""
    global _group  # noqa: PLW0603
    whole, _group = _group, _Group()
    try:
        yield
    finally:
        _group = whole


def _on_sigterm(handler: Any) -> None:
    """Let a launcher's signal to stop be handled so, where Python lets it be."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _raise_stopped(*_: object) -> None:
    """The launcher stops the others where one process ends."""
    _on_sigterm(signal.SIG_IGN)
    raise DistributedError(
        f"process {_group.rank} of {_group.count} was told to stop, as when another one ended; look at what that one "
        "said, then go on with --resume"
    )
