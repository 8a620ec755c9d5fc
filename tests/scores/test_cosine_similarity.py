from __future__ import annotations

from efface.scores.metrics.cosine_similarity import cosine_similarity
from efface.scores.question import MetricInputs, Missing


def test_definitions_take_their_own_cosine() -> None:
    question = MetricInputs(id="q", cosine_answer=0.5, cosine_before=0.25)
    assert cosine_similarity(question, target="answer") == 0.5
    assert cosine_similarity(question, target="before") == 0.25


def test_clipped() -> None:
    assert cosine_similarity(MetricInputs(id="q", cosine_answer=-0.3), target="answer") == 0.0
    assert cosine_similarity(MetricInputs(id="q", cosine_answer=1.0000002), target="answer") == 1.0


def test_one_never_stands_in_for_the_other() -> None:
    question = MetricInputs(id="q", cosine_answer=0.5)
    assert cosine_similarity(question, target="before") == Missing(
        "no cosine of the output with the output before unlearning is there"
    )
