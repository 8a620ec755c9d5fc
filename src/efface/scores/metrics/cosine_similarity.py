"""CS: does the output mean what it should mean."""

from __future__ import annotations

from typing import Literal

from efface.scores.question import MetricInputs, Missing

CosineTarget = Literal["answer", "before"]
"""What the output is compared with: the stored answer (published code), or the output before (paper)."""


def cosine_similarity(question: MetricInputs, *, target: CosineTarget) -> float | Missing:
    """Cosine of two sentence embeddings, negative ones counted as 0; in [0, 1]. arXiv:2410.08109."""
    if target == "answer":
        cosine, text = question.cosine_answer, "the stored answer"
    else:
        cosine, text = question.cosine_before, "the output before unlearning"
    if cosine is None:
        return question.lacks("cosine_similarity", f"no cosine of the output with {text} is there")
    return min(1.0, max(0.0, cosine))
