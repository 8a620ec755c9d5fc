"""Wilson intervals, against published values and the formula's edge cases."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from efface.scores.intervals import wilson


@pytest.mark.parametrize(("count", "n"), [(0, 1), (0, 20), (3, 16), (8, 20), (20, 20), (199, 400), (4000, 4000)])
def test_the_interval_is_that_of_scipy(count: int, n: int) -> None:
    expected = binomtest(count, n).proportion_ci(0.95, method="wilson")
    assert wilson(count, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_without_trials_nothing_is_known() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_none_of_twenty_does_not_exclude_one_in_six() -> None:
    assert wilson(0, 20) == (0.0, pytest.approx(0.1611, abs=5e-5))
