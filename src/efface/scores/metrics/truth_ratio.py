"""TR: does the model prefer the right answer, in other words, to wrong ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

from efface.scores.means import log_mean_exp, log_sum_exp, mean
from efface.scores.question import MetricInputs, Missing

WrongAnswers = Literal["geometric", "arithmetic"]
"""How the probabilities of several wrong answers become one."""

COMBINE: dict[WrongAnswers, Callable[[Sequence[float]], float]] = {
    "geometric": mean,
    "arithmetic": log_mean_exp,
}
"""The same in logs: mean token log-probs -> one."""

ForgetForm = Literal["distance", "closeness"]
"""On the forget set: how far right and wrong are apart (closer-look), or how close together (TOFU)."""


def log_ratio(right: float, wrongs: Sequence[float], *, wrong_answers: WrongAnswers, log_epsilon: float) -> float:
    """Log of r, with r = p(wrong answers) / (p(right answer) + epsilon); arXiv:2401.06121.

    `right` and `wrongs` are mean token log-probs. Finite for finite input, also where r is not: of a collapsed
    model r may be 0/0 or overflow.
    """
    wrong = COMBINE[wrong_answers](wrongs)
    return wrong - log_sum_exp([right, log_epsilon])


def preference(log_r: float) -> float:
    """max(0, 1 - r), for sets to keep: 1 where the right answer is far more likely."""
    return 1 - math.exp(min(log_r, 0.0))


def closeness(log_r: float, log_epsilon: float) -> float:
    """min(r, 1 / (r + epsilon)), for the forget set: 1 where right and wrong are equally likely."""
    return math.exp(min(log_r, -log_sum_exp([log_r, log_epsilon])))


def question_log_ratio(question: MetricInputs, *, wrong_answers: WrongAnswers, log_epsilon: float) -> float | Missing:
    """`log_ratio` of one question."""
    if not question.perturbed_logps:
        return question.lacks("truth_ratio", "there are no wrong answers to compare with")
    if question.paraphrase_logp is None:
        return question.lacks("truth_ratio", "the paraphrased answer's log-probability is not there")
    return log_ratio(
        question.paraphrase_logp,
        question.perturbed_logps,
        wrong_answers=wrong_answers,
        log_epsilon=log_epsilon,
    )


def truth_ratio(
    question: MetricInputs,
    *,
    forget_form: ForgetForm | None,
    wrong_answers: WrongAnswers,
    log_epsilon: float,
) -> float | Missing:
    """Truth ratio in [0, 1]; `forget_form` is None on sets to keep."""
    log_r = question_log_ratio(question, wrong_answers=wrong_answers, log_epsilon=log_epsilon)
    if isinstance(log_r, Missing):
        return log_r
    if forget_form is None:
        return preference(log_r)
    close = closeness(log_r, log_epsilon)
    return close if forget_form == "closeness" else 1 - close
