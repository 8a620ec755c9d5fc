"""P: the probability of the answer under the model."""

from __future__ import annotations

import math

from efface.scores.inputs.metric_inputs import MetricInputs, Missing


def probability(inputs: MetricInputs, *, over_options: bool, log_epsilon: float) -> float | Missing:
    """Compute the length-normalized probability of the answer, exp(mean token log-probability).

    Args:
        inputs: One question.
        over_options: Divide by the sum over correct and wrong answers, as on TOFU's Real Authors and World Facts;
            arXiv:2401.06121.
        log_epsilon: Log of a number that is added to this sum.

    Returns:
        A number in [0, 1], or why there is none. Where all probabilities underflow (a collapsed model), the quotient is
        its limit and not 0/0.
    """
    correct = inputs.answer_logp
    if correct is None:
        return inputs.explain_missing("probability", "there is no log-probability of the answer")
    if not over_options:
        return min(1.0, math.exp(correct))
    wrong = inputs.option_logps or inputs.perturbed_logps
    if not wrong:
        return inputs.explain_missing("probability", "there are no wrong answers to normalize over")
    logs = (correct, *wrong, log_epsilon)
    top = max(logs)
    return math.exp(correct - top) / math.fsum(math.exp(log - top) for log in logs)
