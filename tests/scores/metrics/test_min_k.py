from __future__ import annotations

import pytest

from efface.scores.metrics.min_k import min_k_score


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        ([-1.0, -5.0, -2.0, -4.0, -3.0], 4.5),  # 40 % of five are two
        ([-1.0, -5.0, -2.0, -4.0], 5.0),  # 1.6, rounded down
        ([-0.5], 0.5),
    ],
)
def test_the_least_likely_tokens_by_hand(logprobs: list[float], expected: float) -> None:
    assert min_k_score(logprobs) == expected
