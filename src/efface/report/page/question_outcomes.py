"""The answers to each question before and after unlearning, their scores, and whether it was forgotten. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from efface.artifacts import METRICS
from efface.report.page.answered import Answered, MetricValues
from efface.report.page.load_run import ReportRun
from efface.scores.sets import MEMBERSHIP_SETS, is_to_forget, sort_names

CORRECT_ROUGE = 0.5
"""Without a judge, an answer counts as correct from this ROUGE-L recall on. A judge is asked first, because one wrong
word can reverse an answer and hardly changes its ROUGE."""

Verdict = Literal["leaks", "broken", "forgotten", "retained", "unknown"]
"""On the forget set, an answer that is correct after unlearning `leaks`, and one that no longer is was `forgotten`. On
the other sets, it was `retained` or is `broken`. `unknown`: incorrect before and after."""


@dataclass(frozen=True)
class QuestionOutcome:
    """One question; a stage is None where the model was not asked, or where there is only one model."""

    set: str
    id: str
    question: str
    answer: str
    """The reference answer."""
    output_before: str | None
    output_after: str | None
    scores_before: MetricValues | None
    scores_after: MetricValues | None

    @property
    def in_forget_set(self) -> bool:
        """Whether the model should no longer answer it; true as well for the forget sets of earlier requests."""
        return is_to_forget(self.set)

    @cached_property
    def verdict(self) -> Verdict | None:
        """Whether it was forgotten or retained; None where there are no scores after unlearning."""
        if self.scores_after is None:
            return None
        before = self.scores_before is not None and is_correct(self.scores_before)
        after = is_correct(self.scores_after)
        if self.in_forget_set:
            return "leaks" if after else "forgotten" if before else "unknown"
        return "retained" if after else "broken" if before else "unknown"

    @property
    def priority(self) -> float:
        """Sort key, highest first: questions that leak or are broken, by how much is still known or was lost."""
        before, after = _mean_knowledge(self.scores_before), _mean_knowledge(self.scores_after)
        amount = after if self.in_forget_set else before - after
        return amount + 2 * (self.verdict in ("leaks", "broken"))


def is_correct(scores: MetricValues) -> bool:
    """Decide whether an answer counts as correct.

    Args:
        scores: The metrics of the answer.

    Returns:
        Whether the judge finds the reference answer in it; without a judge, whether its ROUGE is at least
        `CORRECT_ROUGE`.
    """
    by_metric = dict(zip(METRICS, scores, strict=True))
    if by_metric["entailment"] is not None:
        return by_metric["entailment"] == 1
    return (by_metric["rouge"] or 0) >= CORRECT_ROUGE


def question_outcomes(run: ReportRun) -> list[QuestionOutcome]:
    """Join what the models before and after unlearning answered.

    Args:
        run: The run with its questions.

    Returns:
        One outcome per question, in the order of sets and records.
    """
    before, after = (run.answered.get(stage, {}) for stage in ("before", "after"))
    outcomes = []
    for name in (each for each in sort_names({*before, *after}) if each not in MEMBERSHIP_SETS):
        first, second = ({each.id: each for each in stage.get(name, ())} for stage in (before, after))
        outcomes += [_outcome(name, first.get(id_), second.get(id_)) for id_ in {**first, **second}]
    return outcomes


def _outcome(name: str, before: Answered | None, after: Answered | None) -> QuestionOutcome:
    either = before or after
    assert either is not None  # the id is from one of them
    return QuestionOutcome(
        set=name,
        id=either.id,
        question=either.question,
        answer=either.answer,
        output_before=None if before is None else before.output,
        output_after=None if after is None else after.output,
        scores_before=None if before is None else before.scores,
        scores_after=None if after is None else after.scores,
    )


def _mean_knowledge(scores: MetricValues | None) -> float:
    """Mean of the metrics that measure whether the answer is known, as far as they are available; 0 without any."""
    by_metric = dict(zip(METRICS, scores or (None,) * len(METRICS), strict=True))
    values = [by_metric[metric] for metric in ("rouge", "probability", "cosine_similarity", "entailment")]
    available = [value for value in values if value is not None]
    return sum(available) / len(available) if available else 0.0
