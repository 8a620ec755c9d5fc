"""What the main process does alone reaches the others, and so do its errors."""

from __future__ import annotations

import pytest

from efface import distributed
from efface.distributed import DistributedError
from efface.errors import EffaceError
from efface.main_process import from_main_process, map_over_ranks, on_main_process


def as_rank(monkeypatch, rank, of_main_process=None):
    """This process is one of two; what the main process sends is given."""
    monkeypatch.setattr(distributed, "_group", distributed._Group(rank, 2))
    monkeypatch.setattr(distributed, "all_gather", lambda value: [of_main_process or value, value])


def test_one_process_does_everything():
    assert on_main_process(lambda: "done") == from_main_process(lambda: "done") == "done"


def test_the_main_process_counts_as_the_only_one_while_it_works(monkeypatch):
    as_rank(monkeypatch, 0)
    assert on_main_process(distributed.world_size) == 1
    assert distributed.world_size() == 2


def test_the_others_do_not_work_and_get_the_result_if_it_is_sent(monkeypatch):
    done = []
    as_rank(monkeypatch, 1, ("sent", None))
    assert on_main_process(lambda: done.append(1)) is None
    assert from_main_process(lambda: done.append(1)) == "sent"
    assert done == []


def test_an_error_is_raised_in_every_process(monkeypatch):
    error = EffaceError("the disk is full; free some space")

    def fails():
        raise error

    as_rank(monkeypatch, 0)
    with pytest.raises(EffaceError) as raised:
        on_main_process(fails)
    assert raised.value is error
    assert distributed.world_size() == 2
    as_rank(monkeypatch, 1, (None, error))
    for run in (on_main_process, from_main_process):
        with pytest.raises(EffaceError, match="the disk is full") as raised:
            run(fails)
        assert not isinstance(raised.value, DistributedError)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("total", [0, 1, 2, 7])
def test_work_is_divided_and_results_come_back_in_order(monkeypatch, count, total):
    def times_ten(indices):
        return [10 * index for index in indices]

    parts = []
    for rank in range(count):
        monkeypatch.setattr(distributed, "_group", distributed._Group(rank, count))
        monkeypatch.setattr(distributed, "gather", lambda part: parts.append(part) or [])
        assert map_over_ranks(total, times_ten) == []
    monkeypatch.setattr(distributed, "gather", lambda _: parts)
    assert map_over_ranks(total, times_ten) == [10 * n for n in range(total)]
    assert sorted(number for part in parts for number in part) == [10 * n for n in range(total)]
