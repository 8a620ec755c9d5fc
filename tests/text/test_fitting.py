"""Groups that do not fit are read in parts, and so are those behind them."""

from __future__ import annotations

import pytest
import torch

from efface.errors import EffaceError
from efface.packing.oom_retry import map_with_oom_backoff


@pytest.fixture
def reads(monkeypatch):
    """Stands in for a GPU that holds so many at once; lists what was read and when its cache was emptied."""

    def make(limit):
        asked = []

        def read(part):
            asked.append(part)
            if len(part) > limit:
                raise torch.OutOfMemoryError
            return [10 * index for index in part]

        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: asked.append("emptied"))
        return read, asked

    return make


def test_what_fits_is_read_as_it_comes(reads):
    read, asked = reads(9)
    found = list(map_with_oom_backoff([[3, 1], [2]], read, describe=str))
    assert found == [([3, 1], [30, 10]), ([2], [20])]
    assert asked == [[3, 1], [2]]


def test_what_does_not_fit_is_halved_until_it_does_and_what_comes_later_too(reads):
    read, asked = reads(2)
    groups = [[0, 1, 2, 3, 4], [5, 6, 7, 8], [9]]
    found = list(map_with_oom_backoff(groups, read, describe=str))
    assert found == [(group, [10 * index for index in group]) for group in groups]
    assert asked == [
        *([0, 1, 2, 3, 4], "emptied"),
        *([0, 1, 2], "emptied"),
        *([0, 1], [2, 3], [4]),
        *([5], [6], [7], [8], [9]),
    ]


def test_one_that_does_not_fit_is_named(reads):
    read, asked = reads(0)
    with pytest.raises(EffaceError, match=r"^the GPU's memory does not hold number 7; buy more$"):
        list(map_with_oom_backoff([[7, 8, 9]], read, describe=lambda index: f"number {index}; buy more"))
    assert asked == [[7, 8, 9], "emptied", [7, 8], "emptied", [7]]
