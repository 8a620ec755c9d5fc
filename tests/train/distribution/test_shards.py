"""Which rows a process has of a sharded tensor; real shards of several processes are in `test_parallel`."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from efface.train.distribution.shards import (
    elements_of_rank,
    is_sharded,
    like_shard,
    local_elements,
    local_part,
    local_rows,
    shard_file,
    whole_shape,
)

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
    assert [each for shard in shards for each in local_elements(shard)] == list(range(2 * total))


def test_a_tensor_that_is_not_sharded():
    whole = torch.ones(3)
    assert not is_sharded(whole)
    assert local_rows(whole) is None
    assert local_elements(whole) == range(3)
    assert whole_shape(whole) == (3,)
    assert local_part(whole) is whole
    assert like_shard(whole, whole, CPU) is whole


def test_what_a_process_has_of_a_parameter_of_deepspeed():
    parameter = torch.nn.Parameter(torch.empty(0))
    parameter.ds_shape, parameter.ds_tensor = torch.Size([5, 2]), torch.ones(5)
    assert whole_shape(parameter) == (5, 2)
    assert local_part(parameter) is parameter.ds_tensor
    assert [each for rank in range(3) for each in elements_of_rank(10, rank, 3)] == list(range(10))


def test_a_scalar_of_a_sharded_tensor_is_not_sharded():
    step = torch.tensor(3.0)
    assert like_shard(step, Shard(torch.ones(4, 2), 1, 2), CPU) is step


def test_the_file_of_a_process_says_which_rows_it_has():
    whole = torch.arange(10).view(5, 2)
    file = shard_file("trained.safetensors", {"weight": Shard(whole, 1, 2), "step": torch.tensor(1.0)})
    assert file.first_rows == {"weight": 3}
    assert file.tensors["weight"].tolist() == whole[3:].tolist()
