from __future__ import annotations

from efface.scores.inputs.metric_inputs import MetricInputs, Missing
from efface.scores.metrics.cosine_similarity import cosine_similarity


def test_the_target_decides_the_cosine() -> None:
    question = MetricInputs(id="q", cosine_answer=0.5, cosine_before=0.25)
    assert cosine_similarity(question, target="answer") == 0.5
    assert cosine_similarity(question, target="before") == 0.25


def test_clipped() -> None:
    assert cosine_similarity(MetricInputs(id="q", cosine_answer=-0.3), target="answer") == 0.0
    assert cosine_similarity(MetricInputs(id="q", cosine_answer=1.0000002), target="answer") == 1.0


def test_one_target_does_not_replace_the_other() -> None:
    question = MetricInputs(id="q", cosine_answer=0.5)
    assert cosine_similarity(question, target="before") == Missing(
        "there is no cosine of the output with the output before unlearning"
    )
