"""Which rows a process has of a sharded tensor; real shards of several processes are in `test_parallel`."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from efface.train.distribution.shards import is_sharded, like_shard, local_part, local_rows, shard_file

CPU = torch.device("cpu")


class Shard:
    """What `fully_shard` makes of a tensor, of which a process has the rows that `torch.chunk` would give it."""

    def __init__(self, whole, rank, count):
        self.shape = whole.shape
        parts = whole.chunk(count)
        self._local = parts[rank] if rank < len(parts) else whole[:0]
        self.device_mesh = SimpleNamespace(size=lambda: count, get_local_rank=lambda: rank)

    def to_local(self):
        return self._local


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("total", [1, 2, 5, 8, 9])
def test_the_rows_are_those_of_torch(total, count):
    whole = torch.arange(2 * total).view(total, 2)
    shards = [Shard(whole, rank, count) for rank in range(count)]
    for shard in shards:
        assert whole[list(local_rows(shard))].tolist() == local_part(shard).tolist()
    assert [row for shard in shards for row in local_rows(shard)] == list(range(total))


def test_a_tensor_that_is_not_sharded():
    whole = torch.ones(3)
    assert not is_sharded(whole)
    assert local_rows(whole) is None
    assert local_part(whole) is whole
    assert like_shard(whole, whole, CPU) is whole


def test_a_scalar_of_a_sharded_tensor_is_not_sharded():
    step = torch.tensor(3.0)
    assert like_shard(step, Shard(torch.ones(4, 2), 1, 2), CPU) is step


def test_the_file_of_a_process_says_which_rows_it_has():
    whole = torch.arange(10).view(5, 2)
    file = shard_file("trained.safetensors", {"weight": Shard(whole, 1, 2), "step": torch.tensor(1.0)})
    assert file.first_rows == {"weight": 3}
    assert file.tensors["weight"].tolist() == whole[3:].tolist()
