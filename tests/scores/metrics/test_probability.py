from __future__ import annotations

import math

import pytest

from efface.scores.inputs.metric_inputs import MetricInputs, Missing
from efface.scores.metrics.probability import probability

NONE = -math.inf
"""log_epsilon of a definition that adds nothing."""


def question(right: float, *wrongs: float) -> MetricInputs:
    """From probabilities."""
    return MetricInputs(id="q", answer_logp=math.log(right), perturbed_logps=tuple(map(math.log, wrongs)))


def test_plain_ignores_wrong_answers() -> None:
    assert probability(question(0.25, 0.5), over_options=False, log_epsilon=NONE) == pytest.approx(0.25)


def test_over_options() -> None:
    value = probability(question(0.2, 0.1, 0.1, 0.4), over_options=True, log_epsilon=NONE)
    assert value == pytest.approx(0.2 / 0.8)


def test_epsilon_is_added_to_the_denominator() -> None:
    value = probability(question(0.2, 0.1), over_options=True, log_epsilon=math.log(0.1))
    assert value == pytest.approx(0.2 / 0.4)


def test_collapsed_models_have_the_limit() -> None:
    gone = MetricInputs(id="q", answer_logp=-5000.0, perturbed_logps=(-5000.0, -6000.0))  # 0 / 0 in probabilities
    assert probability(gone, over_options=True, log_epsilon=NONE) == 0.5
    assert probability(gone, over_options=True, log_epsilon=math.log(1e-10)) == 0.0
    assert probability(gone, over_options=False, log_epsilon=NONE) == 0.0
    wrong = MetricInputs(id="q", answer_logp=-5000.0, perturbed_logps=(0.0,))  # exp(5000) overflows
    assert probability(wrong, over_options=True, log_epsilon=NONE) == 0.0


def test_rounding_above_certainty_stays_one() -> None:
    assert probability(MetricInputs(id="q", answer_logp=1e-7), over_options=False, log_epsilon=NONE) == 1.0


def test_missing() -> None:
    assert isinstance(probability(MetricInputs(id="q"), over_options=False, log_epsilon=NONE), Missing)
    assert probability(question(0.5), over_options=True, log_epsilon=NONE) == Missing(
        "there are no wrong answers to normalize over"
    )
