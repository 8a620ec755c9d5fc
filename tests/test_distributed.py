"""What processes do together, where there is one; several are in tests/train and tests/run."""

from __future__ import annotations

import re

import pytest

from efface import distributed
from efface.distributed import DistributedError
from efface.errors import EffaceError


def test_one_process_is_all_of_them_and_waits_for_nobody(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    distributed.init_process_group("cpu")
    assert (
        distributed.launched_world_size(),
        distributed.world_size(),
        distributed.rank(),
        distributed.is_main_process(),
    ) == (1, 1, 0, True)
    assert distributed.all_gather("mine") == ["mine"]
    done = []
    distributed.on_main_process(lambda: done.append(1))
    assert done == [1]


def test_started_by_a_launcher_but_not_connected_it_is_alone(monkeypatch):
    """A library call in a foreign program must not wait for partners that never come."""
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert (distributed.launched_world_size(), distributed.world_size()) == (4, 1)
    distributed.barrier()


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("total", [0, 1, 2, 7])
def test_work_is_shared_out_and_comes_back_in_order(monkeypatch, count, total):
    seen = []

    def of(rank):
        monkeypatch.setattr(distributed, "_group", distributed._Group(rank, count))
        mine = list(range(rank, total, count))
        seen.extend(mine)
        return [number * 10 for number in mine]

    parts = [of(rank) for rank in range(count)]
    monkeypatch.setattr(distributed, "all_gather", lambda _: parts)
    assert distributed.map_over_ranks(total, lambda mine: [number * 10 for number in mine]) == [
        10 * n for n in range(total)
    ]
    assert sorted(seen) == list(range(total))


@pytest.mark.parametrize("words", ["[gloo/transport/tcp/pair.cc:547] Connection closed by peer", "NCCL error"])
def test_a_lost_partner_is_said_in_words(monkeypatch, words):
    def loses():
        with distributed.explain_lost_peer():
            raise RuntimeError(words)

    with pytest.raises(RuntimeError, match=re.escape(words)):
        loses()  # alone, it is something else
    monkeypatch.setattr(distributed, "_group", distributed._Group(1, 2))
    with pytest.raises(DistributedError, match=r"process 1 of 2 lost another one, .* go on with --resume"):
        loses()
    assert issubclass(DistributedError, EffaceError)


def test_other_errors_stay_what_they_are(monkeypatch):
    monkeypatch.setattr(distributed, "_group", distributed._Group(1, 2))
    with pytest.raises(RuntimeError, match="shapes"), distributed.explain_lost_peer():
        raise RuntimeError("shapes do not match")


def test_a_number_of_processes_without_a_launcher_is_said(monkeypatch):
    """As on a cluster that sets WORLD_SIZE for its own reasons."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        DistributedError, match=r"^WORLD_SIZE=2 says .* they do not find each other \(.*RANK.*unset WORLD"
    ):
        distributed.init_process_group("cpu")
    assert distributed.world_size() == 1
