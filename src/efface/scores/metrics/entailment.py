"""ES: whether the output states the fact, according to a judge."""

from __future__ import annotations

from efface.scores.inputs.metric_inputs import MetricInputs, Missing

LEAST_ROUGE = 0.1
"""An output with a lower ROUGE-L recall counts as not entailed, whatever the judge says."""


def entailment(inputs: MetricInputs, rouge: float | Missing) -> float | Missing:
    """Combine the judge's label with ROUGE; arXiv:2410.08109.

    Args:
        inputs: One question.
        rouge: Its ROUGE-L recall.

    Returns:
        1 if the label is `entailment` and ROUGE-L recall is at least 0.1, else 0; or why there is no score.
    """
    if inputs.label is None:
        return inputs.explain_missing("entailment", "there is no label of a judge")
    if isinstance(rouge, Missing):
        return inputs.explain_missing("entailment", f"it needs ROUGE, and {rouge.reason}")
    return float(inputs.label == "entailment" and rouge >= LEAST_ROUGE)
