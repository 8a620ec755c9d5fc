"""Forget quality: can the model be told from one that never saw the forget set."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from efface.artifacts import ForgetQuality
from efface.errors import EffaceError
from efface.scores.definitions import Definition
from efface.scores.metrics.truth_ratio import question_log_ratio
from efface.scores.question import MetricInputs, Missing


def forget_quality(
    forget: Sequence[MetricInputs], retrained: Sequence[MetricInputs], definition: Definition
) -> ForgetQuality:
    """Two-sample Kolmogorov-Smirnov test between two models' truth ratios r on the forget set.

    TOFU, arXiv:2401.06121: a high p-value means good forgetting. `retrained` holds the answers of a model
    trained without the forget set to the same questions. The test compares logs of r, which are in the same order
    as r and do not overflow. It also works for different numbers of questions, but then they are not the same ones:
    this warns. Raises `EffaceError` where a question has no truth ratio.
    """
    if len(forget) != len(retrained):
        warnings.warn(
            f"forget quality compares {len(forget)} questions with {len(retrained)} of the retrained model; "
            "it means something only for the same questions",
            stacklevel=2,
        )
    from scipy.stats import ks_2samp  # a second to import

    test = ks_2samp(
        _log_ratios(forget, definition, "the scored model's forget set"),
        _log_ratios(retrained, definition, "the retrained model's forget set"),
    )
    return ForgetQuality(p_value=float(test.pvalue), statistic=float(test.statistic))


def _log_ratios(questions: Sequence[MetricInputs], definition: Definition, where: str) -> list[float]:
    ratios = []
    for question in questions:
        log_r = question_log_ratio(question, wrong_answers=definition.wrong_answers, log_epsilon=definition.log_epsilon)
        if isinstance(log_r, Missing):
            raise EffaceError(
                f"forget quality needs the truth ratio of every question, and in {where} question {question.id} "
                f"has none ({log_r.reason}); score without a log to compare against"
            )
        ratios.append(log_r)
    return ratios
