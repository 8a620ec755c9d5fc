from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efface.spacing import evenly_spaced


@pytest.mark.parametrize(
    ("length", "count", "chosen"),
    [
        (10, 3, (0, 3, 6)),
        (10, 10, tuple(range(10))),
        (3, 10, (0, 1, 2)),
        (9, 2, (0, 4)),
        (5, 1, (0,)),
        (5, 0, ()),
        (0, 5, ()),
    ],
)
def test_choices(length: int, count: int, chosen: tuple[int, ...]) -> None:
    assert evenly_spaced(range(length), count) == chosen


@given(st.integers(0, 500), st.integers(0, 500))
def test_distances_are_equal_up_to_one(length: int, count: int) -> None:
    chosen = evenly_spaced(range(length), count)
    assert len(chosen) == min(length, count)
    distances = {end - start for start, end in pairwise([*chosen, length])} if chosen else {1}
    assert min(distances) > 0
    assert max(distances) - min(distances) <= 1
