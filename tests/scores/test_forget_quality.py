from __future__ import annotations

import pytest

from efface.errors import EffaceError
from efface.scores.definitions import CLOSER_LOOK, PAPER, TOFU
from efface.scores.forget_quality import forget_quality
from efface.scores.inputs.metric_inputs import MetricInputs


def questions(*log_ratios: float) -> list[MetricInputs]:
    return [
        MetricInputs(id=str(i), paraphrase_logp=-10.0, perturbed_logps=(-10.0 + log_r,))
        for i, log_r in enumerate(log_ratios)
    ]


def test_by_hand() -> None:
    same = forget_quality(questions(0.1, 0.2, 0.3), questions(0.3, 0.1, 0.2), TOFU)
    assert (same.p_value, same.statistic) == (1.0, 0.0)
    # of the 20 ways to split six numbers into three and three, two put all of one side below the other
    separated = forget_quality(questions(0.1, 0.2, 0.3), questions(0.4, 0.5, 0.6), TOFU)
    assert separated.p_value == pytest.approx(0.1)
    assert separated.statistic == 1.0


def test_the_definition_decides_the_ratio() -> None:
    one = [MetricInputs(id="0", paraphrase_logp=-1.0, perturbed_logps=(-1.0, -5.0))]  # means: -3 in logs, -1.67
    two = [MetricInputs(id="0", paraphrase_logp=-1.0, perturbed_logps=(-3.0, -3.0))]
    assert forget_quality(one, two, CLOSER_LOOK).statistic == 0.0
    assert forget_quality(one, two, PAPER).statistic == 1.0


def test_ratios_that_overflow_keep_their_order() -> None:
    def huge(*gaps: float) -> list[MetricInputs]:
        return [MetricInputs(id="q", paraphrase_logp=-1e5, perturbed_logps=(-gap,)) for gap in gaps]

    assert forget_quality(huge(1, 2, 3), huge(4, 5, 6), TOFU).statistic == 1.0


def test_different_numbers_of_questions_warn() -> None:
    with pytest.warns(UserWarning, match="compares 2 questions with 3 of the retrained model"):
        quality = forget_quality(questions(0.1, 0.2), questions(0.1, 0.2, 0.3), TOFU)
    assert quality.statistic == pytest.approx(1 / 3)


def test_a_question_without_a_truth_ratio_is_refused() -> None:
    with pytest.raises(EffaceError, match="in the retrained model's forget set question x has none"):
        forget_quality(questions(0.1), [MetricInputs(id="x", paraphrase_logp=-1.0)], TOFU)
