from __future__ import annotations

import pytest

from efface.scores.metric_inputs import MetricInputs, Missing
from efface.scores.metrics.token_entropy import normalized_entropy, token_entropy


def test_by_hand() -> None:
    assert normalized_entropy([1, 2, 3, 4]) == pytest.approx(1.0)
    assert normalized_entropy([1, 1, 2, 2]) == pytest.approx(0.5)  # 1 bit of 2
    assert normalized_entropy([1, 1, 1, 2, 3, 4, 5, 6]) == pytest.approx((3 / 8 * 1.415037499 + 5 / 8 * 3) / 3)
    assert normalized_entropy([7] * 200) == 0.0  # a collapsed model


def test_one_token_or_none() -> None:
    assert normalized_entropy([5]) == 0.0
    assert normalized_entropy([]) == 0.0


def test_never_above_one() -> None:
    assert all(normalized_entropy(range(n)) <= 1 for n in range(200))
    assert token_entropy(MetricInputs(id="q", token_entropy=1 + 1e-12)) == 1.0  # a log's rounding


def test_missing() -> None:
    assert isinstance(token_entropy(MetricInputs(id="q")), Missing)
