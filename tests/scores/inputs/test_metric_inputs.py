"""Numbers out of range are refused before anything is computed from them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from efface.scores.inputs.metric_inputs import MetricInputs, Missing, check_range


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"answer_logp": 0.1}, "a log-probability is 0.1"),
        ({"paraphrase_logp": float("nan")}, "a log-probability is nan"),
        ({"perturbed_logps": (-1.0, -1e40)}, "a log-probability is -1e+40"),
        ({"cosine_answer": 1.1}, "a cosine is 1.1"),
        ({"cosine_before": -1.1}, "a cosine is -1.1"),
        ({"token_entropy": 1.1}, "the token entropy is 1.1"),
        ({"retokenized_entropy": -0.1}, "the token entropy is -0.1"),
        ({"logged_rouge": -0.1}, "the logged ROUGE is -0.1"),
        ({"label": "maybe"}, "'maybe' is not an entailment label"),
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        MetricInputs(id="q", **fields)


def test_rounding_is_allowed() -> None:
    MetricInputs(id="q", answer_logp=1e-4, cosine_answer=1.0005, token_entropy=1.0005, label="none")
    check_range("nothing", None, 0, 1)


def test_the_reason_of_the_source_comes_first() -> None:
    inputs = MetricInputs(id="q", missing={"rouge": "no texts"})
    assert inputs.explain_missing("rouge", "another reason") == Missing("no texts")
    assert inputs.explain_missing("entailment", "another reason") == Missing("another reason")
