"""The headline of a run: its aggregates, how many questions leak or are broken, and what that means. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from efface.artifacts import ContinualResults, Metric, Scores
from efface.report.number_format import pluralize
from efface.report.page.load_run import ReportRun
from efface.report.page.question_outcomes import QuestionOutcome, is_correct
from efface.scores.continual import utility
from efface.scores.means import mean

METRIC_NAMES: dict[Metric, str] = {
    "rouge": "ROUGE",
    "probability": "Probability",
    "truth_ratio": "Truth ratio",
    "token_entropy": "Token entropy",
    "cosine_similarity": "Cosine similarity",
    "entailment": "Entailment",
}
UNCOUNTED_NAMES = {"extraction_strength": "Extraction strength"}
"""Built-in metrics that no aggregate includes; custom ones have their own names."""
AGGREGATE_NAMES = {
    "model_utility": "Model utility",
    "model_utility_retain": "Utility on retain",
    "forget_efficacy": "Forget efficacy",
}
_SMALL_SHARE, _LARGE_SHARE = 0.05, 0.5
"""Shares of questions from which on the verdict changes."""


@dataclass(frozen=True)
class Aggregates:
    """Of one model; in a queue, the efficacy is the mean over the requests so far."""

    model_utility: float | None
    model_utility_retain: float | None
    forget_efficacy: float | None


@dataclass(frozen=True)
class QuestionCounts:
    """Counts over the questions of the forget set, or of all other sets."""

    n: int
    correct_before: int
    failed: int
    """On the forget set, the questions that leak; on the other sets, those that are broken."""


@dataclass(frozen=True)
class Summary:
    """The headline of one run."""

    forget: QuestionCounts
    retain: QuestionCounts
    """Over all sets except the forget sets."""
    forget_sentence: str
    retain_sentence: str
    successful: tuple[bool | None, bool | None]
    """Whether unlearning succeeded by the two sentences; None where that is undecided."""


def partial_metrics(models: Sequence[Scores]) -> list[list[Metric]] | None:
    """Find the metrics of the partial aggregates.

    Args:
        models: Scores of all models on the page.

    Returns:
        Each different list of metrics once, where an aggregate is missing that a partial one can replace; else None.
    """
    complete = all(
        getattr(each, name) is not None or getattr(each.partial, name) is None
        for each in models
        for name in AGGREGATE_NAMES
    )
    if complete:
        return None
    lists: list[list[Metric]] = []
    for each in models:
        if each.partial.metrics not in lists:
            lists.append(each.partial.metrics)
    return lists


def aggregates_by_stage(run: ReportRun, *, partial: bool) -> dict[str, Aggregates]:
    """Collect the aggregates of every model of a run.

    Args:
        run: The run.
        partial: Whether to use the partial aggregates; a queue has its own metrics at all times.

    Returns:
        Stage -> aggregates, as far as there are scores: `before`, `epoch N` or `after request N`, and `after`.
    """
    if run.queue is not None:
        return _queue_aggregates(run.queue)
    stages = {"before": run.before, **{f"epoch {each.epoch}": each.scores for each in run.epochs}, "after": run.after}
    return {
        stage: Aggregates(**{name: getattr(scores.partial if partial else scores, name) for name in AGGREGATE_NAMES})
        for stage, scores in stages.items()
        if scores is not None
    }


def scores_by_stage(run: ReportRun) -> list[tuple[str, Scores]]:
    """List (stage, scores) for `before` and `after`, as far as they exist; the stage of an evaluation is empty."""
    stages = (("before", run.before), ("" if run.kind == "evaluation" else "after", run.after))
    return [(stage, scores) for stage, scores in stages if scores is not None]


def summarize(run: ReportRun, outcomes: Sequence[QuestionOutcome]) -> Summary:
    """Count the questions that leak or are broken, and describe the result in two sentences.

    Args:
        run: The run.
        outcomes: Its questions.

    Returns:
        The headline.
    """
    forget = _count(each for each in outcomes if each.in_forget_set)
    retain = _count(each for each in outcomes if not each.in_forget_set)
    single = run.kind == "evaluation"
    if run.after is None or not outcomes:
        reason = "not scored yet" if run.unfinished else "the run has no records of single questions"
        return Summary(forget, retain, f"Forgotten: {reason}.", f"Retained: {reason}.", (None, None))
    return Summary(
        forget=forget,
        retain=retain,
        forget_sentence=_forget_sentence(forget, single=single),
        retain_sentence=_utility_sentence(outcomes) if single else _retain_sentence(retain),
        successful=(
            _share(forget.failed, forget.n) <= _SMALL_SHARE if forget.n and (forget.correct_before or single) else None,
            _share(retain.failed, retain.correct_before) <= _SMALL_SHARE if retain.correct_before else None,
        ),
    )


def _queue_aggregates(queue: ContinualResults) -> dict[str, Aggregates]:
    over_time, last = utility(queue), len(queue.after)
    aggregates = {}
    for time in range(last + 1):
        stage = "before" if time == 0 else "after" if time == last else f"after request {time}"
        requested = [row[time] for row in queue.forget_efficacy[: time or last]]
        available = [each for each in requested if each is not None]
        efficacy = mean(available) if available and len(available) == len(requested) else None
        aggregates[stage] = Aggregates(over_time.whole[time], over_time.retain[time], efficacy)
    return aggregates


def _count(outcomes: Iterable[QuestionOutcome]) -> QuestionCounts:
    listed = list(outcomes)
    correct_before = sum(each.scores_before is not None and is_correct(each.scores_before) for each in listed)
    failed = sum(each.verdict in ("leaks", "broken") for each in listed)
    return QuestionCounts(n=len(listed), correct_before=correct_before, failed=failed)


def _forget_sentence(forget: QuestionCounts, *, single: bool) -> str:
    if not forget.n:
        return "There is no forget set, so forgetting cannot be measured."
    questions = f"{pluralize(forget.n, 'question')} of the forget set"
    if single:
        return f"It answers {forget.failed:,} of the {questions} correctly."
    if not forget.correct_before:
        return f"There was little to forget: none of the {questions} was answered correctly before."
    if _share(forget.failed, forget.n) <= _SMALL_SHARE:
        verdict = "It forgot"
    elif forget.failed < forget.correct_before * (1 - _SMALL_SHARE):
        verdict = "It forgot in part"
    else:
        verdict = "It did not forget"
    return (
        f"{verdict}: of {questions}, it answered {forget.correct_before:,} correctly before and {forget.failed:,} "
        "after."
    )


def _retain_sentence(retain: QuestionCounts) -> str:
    if not retain.n:
        return "There is no set except the forget set, so damage cannot be measured."
    questions = f"{pluralize(retain.n, 'question')} of the other sets"
    if not retain.correct_before:
        return f"None of the {questions} was answered correctly before, so damage cannot be measured."
    share = _share(retain.failed, retain.correct_before)
    if share <= _SMALL_SHARE:
        verdict = "It retained the rest"
    elif share < _LARGE_SHARE:
        verdict = "It lost some of the rest"
    else:
        verdict = "It lost most of the rest"
    return (
        f"{verdict}: of {questions}, {retain.correct_before:,} were answered correctly before; {retain.failed:,} of "
        "these no longer are."
    )


def _utility_sentence(outcomes: Sequence[QuestionOutcome]) -> str:
    """For an evaluation, which has nothing before."""
    others = [each for each in outcomes if not each.in_forget_set]
    correct = sum(each.verdict == "retained" for each in others)
    return f"It answers {correct:,} of the {pluralize(len(others), 'question')} of the other sets correctly."


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
