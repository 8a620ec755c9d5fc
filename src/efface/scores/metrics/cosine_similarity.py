"""CS: whether the output means what the target means."""

from __future__ import annotations

from typing import Literal

from efface.scores.inputs.metric_inputs import MetricInputs, Missing

CosineTarget = Literal["answer", "before"]
"""What the output is compared with: the stored answer (published code), or the output before unlearning (paper)."""


def cosine_similarity(inputs: MetricInputs, *, target: CosineTarget) -> float | Missing:
    """Compare the sentence embeddings of output and target; arXiv:2410.08109.

    Args:
        inputs: One question.
        target: What the output is compared with.

    Returns:
        The cosine, 0 for a negative one; or why there is none.
    """
    if target == "answer":
        cosine, text = inputs.cosine_answer, "the stored answer"
    else:
        cosine, text = inputs.cosine_before, "the output before unlearning"
    if cosine is None:
        return inputs.explain_missing("cosine_similarity", f"there is no cosine of the output with {text}")
    return min(1.0, max(0.0, cosine))
