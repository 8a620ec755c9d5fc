"""Means that do not overflow, underflow or depend on the order of their terms."""

from __future__ import annotations

import math

import pytest

from efface.scores.means import harmonic_mean, log_mean_exp, log_sum_exp, mean


def test_mean_does_not_depend_on_the_order() -> None:
    values = [0.1] * 9 + [1e16, 1.0, -1e16]
    assert mean(values) == mean(values[::-1]) == pytest.approx(1.9 / 12)


def test_harmonic_mean() -> None:
    assert harmonic_mean([1.0, 0.5]) == pytest.approx(2 / 3)
    assert harmonic_mean([1.0, 0.0]) == 0.0
    assert harmonic_mean([5e-324, 1e-308]) >= 0  # whose inverses overflow


def test_log_sum_and_mean_of_exponentials() -> None:
    assert log_sum_exp([math.log(0.25), math.log(0.5)]) == pytest.approx(math.log(0.75))
    assert log_mean_exp([math.log(0.25), math.log(0.75)]) == pytest.approx(math.log(0.5))
    assert log_sum_exp([-5000.0, -5000.0]) == pytest.approx(-5000 + math.log(2))  # exp underflows
    assert log_sum_exp([-1.0, -math.inf]) == -1.0
