"""Scores of one set."""

from __future__ import annotations

import pytest

from efface.artifacts import METRICS, Partial, Scores, SetScores
from support.run_fixtures import made  # noqa: F401


@pytest.fixture
def set_scores() -> SetScores:
    return SetScores(n=1, **dict.fromkeys(METRICS, 0.5))


@pytest.fixture
def scores(set_scores) -> Scores:
    return Scores(
        model_utility=None,
        model_utility_retain=None,
        forget_efficacy=None,
        partial=Partial(model_utility=None, model_utility_retain=None, forget_efficacy=None, metrics=[]),
        missing={},
        embedder=None,
        judge=None,
        sets={"forget": set_scores},
    )
