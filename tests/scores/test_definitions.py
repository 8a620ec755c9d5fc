from __future__ import annotations

import pytest

from efface.artifacts import METRICS
from efface.errors import EffaceError
from efface.scores import DEFINITIONS, definition


def test_names() -> None:
    assert list(DEFINITIONS) == ["closer-look", "paper", "tofu", "open-unlearning"]
    assert all(definition(name).name == name for name in DEFINITIONS)


def test_metrics_of_the_aggregates() -> None:
    for name in ("closer-look", "paper"):
        assert definition(name).utility_metrics == METRICS
        assert set(METRICS) - set(definition(name).efficacy_metrics) == {"token_entropy"}
    for name in ("tofu", "open-unlearning"):
        assert definition(name).utility_metrics == ("rouge", "probability", "truth_ratio")
        assert definition(name).efficacy_metrics == ()


def test_a_misspelled_name_gets_the_nearest() -> None:
    with pytest.raises(EffaceError, match=r"no score definition 'closer_look'; did you mean 'closer-look'\?"):
        definition("closer_look")
