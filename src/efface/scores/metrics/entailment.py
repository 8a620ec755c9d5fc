"""ES: does the output state the fact, in the eyes of a judge."""

from __future__ import annotations

from efface.scores.question import MetricInputs, Missing

LEAST_ROUGE = 0.1
"""An output with less of the answer's wording counts as not entailed, whatever the judge says."""


def entailment(question: MetricInputs, rouge: float | Missing) -> float | Missing:
    """1 where the judge says entailment and ROUGE-L recall is at least 0.1, else 0. arXiv:2410.08109.

    `rouge` is the question's ROUGE-L recall; without it there is no score either.
    """
    if question.label is None:
        return question.lacks("entailment", "no judge's label is there")
    if isinstance(rouge, Missing):
        return question.lacks("entailment", f"it needs ROUGE, and {rouge.reason}")
    return float(question.label == "entailment" and rouge >= LEAST_ROUGE)
