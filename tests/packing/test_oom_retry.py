"""Batches that do not fit into memory are processed in parts, and so are those after them."""

from __future__ import annotations

import pytest
import torch

from efface.errors import EffaceError
from efface.packing.oom_retry import map_with_oom_backoff


@pytest.fixture
def gpu(monkeypatch):
    """A function for a GPU that holds `limit` indices at once, and the log of what it processed and emptied."""

    def holding(limit):
        log = []

        def process(part):
            log.append(part)
            if len(part) > limit:
                raise torch.OutOfMemoryError
            return [10 * index for index in part]

        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: log.append("emptied"))
        return process, log

    return holding


def test_batches_that_fit_are_processed_as_they_are(gpu):
    process, log = gpu(9)
    results = list(map_with_oom_backoff([[3, 1], [2]], process, describe=str))
    assert results == [([3, 1], [30, 10]), ([2], [20])]
    assert log == [[3, 1], [2]]


def test_batches_that_do_not_fit_are_halved_and_later_ones_too(gpu):
    process, log = gpu(2)
    batches = [[0, 1, 2, 3, 4], [5, 6, 7, 8], [9]]
    results = list(map_with_oom_backoff(batches, process, describe=str))
    assert results == [(batch, [10 * index for index in batch]) for batch in batches]
    assert log == [
        *([0, 1, 2, 3, 4], "emptied"),
        *([0, 1, 2], "emptied"),
        *([0, 1], [2, 3], [4]),
        *([5], [6], [7], [8], [9]),
    ]


def test_an_index_that_does_not_fit_alone_is_described(gpu):
    process, log = gpu(0)
    with pytest.raises(EffaceError, match=r"^the GPU's memory does not hold number 7; buy more$"):
        list(map_with_oom_backoff([[7, 8, 9]], process, describe=lambda index: f"number {index}; buy more"))
    assert log == [[7, 8, 9], "emptied", [7, 8], "emptied", [7]]
