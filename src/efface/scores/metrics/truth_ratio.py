"""TR: whether the model prefers the correct answer, paraphrased, to wrong ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from efface.scores.inputs.metric_inputs import MetricInputs, Missing
from efface.scores.means import log_mean_exp, log_sum_exp, mean

WrongAnswers = Literal["geometric", "arithmetic"]
"""Which mean combines the probabilities of several wrong answers."""

COMBINE: dict[WrongAnswers, Callable[[Sequence[float]], float]] = {
    "geometric": mean,
    "arithmetic": log_mean_exp,
}
"""The same in logs: mean token log-probabilities -> one."""

ForgetForm = Literal["distance", "closeness"]
"""On the forget set: how different correct and wrong answers are (closer-look), or how similar (TOFU)."""


def log_ratio(correct: float, wrong: Sequence[float], *, wrong_answers: WrongAnswers, log_epsilon: float) -> float:
    """Compute log r, with r = p(wrong answers) / (p(correct answer) + epsilon); arXiv:2401.06121.

    Args:
        correct: Mean token log-probability of the correct answer.
        wrong: The same of each wrong answer; at least one.
        wrong_answers: Which mean combines them.
        log_epsilon: Log of epsilon.

    Returns:
        A finite number for finite input, even if r is not: for a collapsed model r may be 0/0 or overflow.
    """
    return COMBINE[wrong_answers](wrong) - log_sum_exp([correct, log_epsilon])


def correct_share(correct: float, wrong: Sequence[float], *, wrong_answers: WrongAnswers, log_epsilon: float) -> float:
    """Compute p(correct) / (p(correct) + p(wrong answers) + epsilon): `prob_mean` of open-unlearning, arXiv:2506.12618.

    Args:
        correct: As for `log_ratio`, as are the others.
        wrong: At least one.
        wrong_answers: Which mean combines them.
        log_epsilon: Log of epsilon.

    Returns:
        A number in [0, 1].
    """
    return math.exp(correct - log_sum_exp([correct, COMBINE[wrong_answers](wrong), log_epsilon]))


def preference(log_r: float) -> float:
    """max(0, 1 - r), for retain sets: 1 where the correct answer is far more likely."""
    return 1 - math.exp(min(log_r, 0.0))


def closeness(log_r: float, log_epsilon: float) -> float:
    """min(r, 1 / (r + epsilon)), for the forget set: 1 where correct and wrong answers are equally likely.

    Args:
        log_r: As `log_ratio` returns it.
        log_epsilon: Log of epsilon; -inf for none.

    Returns:
        A number in [0, 1].
    """
    return math.exp(min(log_r, -log_sum_exp([log_r, log_epsilon])))


def question_log_ratio(inputs: MetricInputs, *, wrong_answers: WrongAnswers, log_epsilon: float) -> float | Missing:
    """`log_ratio` of one question, or why there is none.

    Args:
        inputs: The question.
        wrong_answers: Which mean combines the probabilities of the wrong answers.
        log_epsilon: Log of epsilon.

    Returns:
        Log r, of the paraphrased answer; the reason where it or the wrong answers are missing.
    """
    if not inputs.perturbed_logps:
        return inputs.explain_missing("truth_ratio", "there are no wrong answers to compare with")
    if inputs.paraphrase_logp is None:
        return inputs.explain_missing("truth_ratio", "there is no log-probability of the paraphrased answer")
    return log_ratio(
        inputs.paraphrase_logp,
        inputs.perturbed_logps,
        wrong_answers=wrong_answers,
        log_epsilon=log_epsilon,
    )


def truth_ratio(
    inputs: MetricInputs,
    *,
    forget_form: ForgetForm | None,
    wrong_answers: WrongAnswers,
    log_epsilon: float,
) -> float | Missing:
    """Compute the truth ratio of one question.

    Args:
        inputs: The question.
        forget_form: The form on a forget set; None on a retain set.
        wrong_answers: Which mean combines the probabilities of the wrong answers.
        log_epsilon: Log of a number that is added to denominators.

    Returns:
        A number in [0, 1], or why there is none.
    """
    log_r = question_log_ratio(inputs, wrong_answers=wrong_answers, log_epsilon=log_epsilon)
    if isinstance(log_r, Missing):
        return log_r
    if forget_form is None:
        return preference(log_r)
    close = closeness(log_r, log_epsilon)
    return close if forget_form == "closeness" else 1 - close
