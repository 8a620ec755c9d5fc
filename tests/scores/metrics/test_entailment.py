from __future__ import annotations

import pytest

from efface.scores.inputs.metric_inputs import MetricInputs, Missing
from efface.scores.metrics.entailment import entailment


@pytest.mark.parametrize(
    ("label", "rouge", "score"),
    [
        ("entailment", 1.0, 1.0),
        ("entailment", 0.1, 1.0),  # less than 0.1 counts as not entailed; 0.1 itself does not
        ("entailment", 0.0999, 0.0),
        ("neutral", 1.0, 0.0),
        ("contradiction", 1.0, 0.0),
        ("none", 0.0, 0.0),
    ],
)
def test_label_and_rouge(label: str, rouge: float, score: float) -> None:
    assert entailment(MetricInputs(id="q", label=label), rouge) == score


def test_missing() -> None:
    assert entailment(MetricInputs(id="q", missing={"entailment": "no NLI model"}), 1.0) == Missing("no NLI model")
    assert entailment(MetricInputs(id="q", label="neutral"), Missing("there are no texts")) == Missing(
        "it needs ROUGE, and there are no texts"
    )
