"""Forget quality: whether the model is distinguishable from one that never saw the forget set."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from efface.artifacts import ForgetQuality
from efface.errors import EffaceError
from efface.scores.definitions import Definition
from efface.scores.inputs.metric_inputs import MetricInputs, Missing
from efface.scores.metrics.truth_ratio import question_log_ratio


def forget_quality(
    forget: Sequence[MetricInputs], retrained: Sequence[MetricInputs], definition: Definition
) -> ForgetQuality:
    """Compare two models' truth ratios r on the forget set with a two-sample Kolmogorov-Smirnov test.

    TOFU, arXiv:2401.06121: a high p-value means good forgetting. The test compares logs of r, which have the same order
    as r and do not overflow.

    Args:
        forget: Questions of the forget set, from the scored model.
        retrained: The same questions, from a model trained without the forget set. A different number of questions
            cannot be the same ones: this warns.
        definition: How the truth ratio is computed.

    Returns:
        p-value and statistic of the test.

    Raises:
        EffaceError: When a question has no truth ratio.
    """
    if len(forget) != len(retrained):
        warnings.warn(
            f"forget quality compares {len(forget)} questions with {len(retrained)} of the retrained model; "
            "it is meaningful only for the same questions",
            stacklevel=2,
        )
    from scipy.stats import ks_2samp  # takes a second to import

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
