"""The answers to each question before and after unlearning, their scores, and whether it was forgotten. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from efface.artifacts import METRICS
from efface.report.page.load_run import ReportRun
from efface.report.page.questions.answered import Answered, MetricValues, judged_answers
from efface.scores.sets import MEMBERSHIP_SETS, is_to_forget, sort_names
from efface.scores.verdict import Outcome, is_known, set_outcomes


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

    verdict: Outcome | None = None
    """What became of it (`efface.scores.verdict`); None where the model after unlearning was not asked."""
    right_before: bool = False
    """Whether the answer before unlearning was correct."""

    @property
    def in_forget_set(self) -> bool:
        """Whether the model should no longer answer it; true as well for the forget sets of earlier requests."""
        return is_to_forget(self.set)

    @property
    def priority(self) -> float:
        """Sort key, highest first: questions that leak or are broken, by how much is still known or was lost."""
        before, after = _mean_knowledge(self.scores_before), _mean_knowledge(self.scores_after)
        amount = after if self.in_forget_set else before - after
        return amount + {"leaks": 3, "broken": 3, "changed": 2, "likely": 2}.get(self.verdict or "", 0)


def question_outcomes(run: ReportRun) -> list[QuestionOutcome]:
    """Join what the models before and after unlearning answered.

    Args:
        run: The run with its questions.

    Returns:
        One outcome per question, in the order of sets and records.
    """
    before, after = (run.answered.get(stage, {}) for stage in ("before", "after"))
    verdicts, outcomes = verdicts_by_set(run), []
    for name in (each for each in sort_names({*before, *after}) if each not in MEMBERSHIP_SETS):
        first, second = ({each.id: each for each in stage.get(name, ())} for stage in (before, after))
        found = verdicts.get(name, {})
        outcomes += [_outcome(name, first.get(id_), second.get(id_), found.get(id_)) for id_ in {**first, **second}]
    return outcomes


def verdicts_by_set(run: ReportRun) -> dict[str, dict[str, Outcome | None]]:
    """What became of the questions that the model after unlearning was asked, by set and id.

    Args:
        run: The run with its questions.
    """
    before = run.answered.get("before", {})
    return {
        name: set_outcomes(
            name, judged_answers(before.get(name, ())), judged_answers(rows), own_answers=run.own_answers
        )
        for name, rows in run.answered.get("after", {}).items()
    }


def _outcome(name: str, before: Answered | None, after: Answered | None, verdict: Outcome | None) -> QuestionOutcome:
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
        verdict=verdict,
        right_before=before is not None and is_known(name, before.judged),
    )


def _mean_knowledge(scores: MetricValues | None) -> float:
    """Mean of the metrics that measure whether the answer is known, as far as they are available; 0 without any."""
    by_metric = dict(zip(METRICS, scores or (None,) * len(METRICS), strict=True))
    values = [by_metric[metric] for metric in ("rouge", "probability", "cosine_similarity", "entailment")]
    available = [value for value in values if value is not None]
    return sum(available) / len(available) if available else 0.0
