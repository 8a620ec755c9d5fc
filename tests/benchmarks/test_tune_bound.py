"""The bound of `efface tune` holds on questions that the search never looked at, on five seeds."""

from __future__ import annotations

import pytest

import tune_bound

pytestmark = pytest.mark.slow  # quick: a search on a smaller model in tests/tuning/test_search.py


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_holds_on_the_reported_questions(tmp_path, monkeypatch, seed):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = tune_bound.measure(tmp_path, seed=seed, keep=0.95, trials=1)
    before, after = found["forget_efficacy"]
    assert found["held_in_search"]
    assert found["holds_on_reported"], found
    assert after > before + 0.2, "it forgot"
