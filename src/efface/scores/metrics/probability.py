"""P: how likely the model finds the answer."""

from __future__ import annotations

import math

from efface.scores.question import MetricInputs, Missing


def probability(question: MetricInputs, *, over_options: bool, log_epsilon: float) -> float | Missing:
    """Length-normalized probability of the answer, in [0, 1].

    Plain: exp(mean token log-prob). `over_options` (TOFU's Real Authors and World Facts, arXiv:2401.06121): that,
    over the sum of exp(`log_epsilon`) and the same for the right and all wrong answers. Shifted by the largest: where
    all of them underflow (a collapsed model), it is the limit and not 0/0.
    """
    right = question.answer_logp
    if right is None:
        return question.lacks("probability", "the answer's log-probability is not there")
    if not over_options:
        return min(1.0, math.exp(right))
    if not question.perturbed_logps:
        return question.lacks("probability", "there are no wrong answers to normalize over")
    logs = (right, *question.perturbed_logps, log_epsilon)
    top = max(logs)
    return math.exp(right - top) / math.fsum(math.exp(log - top) for log in logs)
