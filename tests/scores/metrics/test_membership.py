from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from efface.scores.metrics.membership import (
    loss_score,
    min_k_plus_plus_score,
    min_k_score,
    zlib_score,
)
from efface.scores.privacy_leakage import auc, privleak


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, Any]:
    """Metrics of open-unlearning's code."""
    stored = json.loads((shared / "golden/open_unlearning/losses_and_metrics.json").read_text())
    return dict(stored["metrics"])


@pytest.mark.parametrize(("attack", "k"), [("min_k", 0.4), ("min_k_other", 0.2)])
@pytest.mark.parametrize("part", ["forget", "holdout"])
def test_min_k_is_open_unlearnings(golden: dict[str, Any], attack: str, k: float, part: str) -> None:
    scores = [min_k_score(each, k) for each in golden["token_logprobs_without_last"][part]]
    assert scores == pytest.approx(golden["membership"][attack][part], abs=1e-6)


def test_auc_and_privleak_are_open_unlearnings(golden: dict[str, Any]) -> None:
    for attack in golden["membership"].values():
        assert auc(attack["forget"], attack["holdout"]) == pytest.approx(attack["auc"])
    stored = golden["privleak"]
    assert privleak(stored["auc"], stored["auc_of_retrained"]) == pytest.approx(stored["privleak"], rel=1e-6)


def test_scores_by_hand() -> None:
    logprobs = [-1.0, -3.0, -2.0, -4.0, -5.0]
    assert loss_score(logprobs) == 3
    assert zlib_score(logprobs, "a" * 100) == 3 / 12
    assert min_k_score(logprobs, 0.4) == 4.5
    assert min_k_score([-1.0, -3.0], 0.4) == 3  # at least one token
    assert min_k_plus_plus_score([-1.0, -3.0], [-2.0, -2.0], [4.0, 0.25], k=1.0) == pytest.approx((-0.5 + 2) / 2)
    assert math.isfinite(min_k_plus_plus_score([-1.0], [-2.0], [0.0]))
