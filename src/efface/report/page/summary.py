"""The headline of a run: its aggregates, whether it forgot, and what it kept. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from efface.artifacts import ContinualResults, Metric, Scores, Share, Verdict
from efface.report.metric_names import AGGREGATE_NAMES
from efface.report.number_format import pluralize
from efface.report.page.load_run import ReportRun
from efface.report.page.questions.answered import judged_answers
from efface.report.verdict_text import (
    FORGET_TONES,
    RETAIN_TONES,
    Tone,
    forget_sentence,
    kept_words,
    verdict_sentences,
    words_note,
)
from efface.scores.continual import efficacy_so_far, utility
from efface.scores.sets import is_to_forget
from efface.scores.verdict import verdict


@dataclass(frozen=True)
class Aggregates:
    """Of one model; in a queue, the efficacy is the mean over the requests so far."""

    model_utility: float | None
    model_utility_retain: float | None
    forget_efficacy: float | None


@dataclass(frozen=True)
class Summary:
    """The headline of one run."""

    verdict: Verdict
    forget_sentence: str
    retain_sentence: str
    tones: tuple[Tone, Tone]
    """How the two sentences are shown."""

    @property
    def leaks(self) -> Share:
        """The questions of the forget sets that are answered correctly after unlearning."""
        return NONE if self.verdict.forget is None else self.verdict.forget.leaks

    @property
    def kept(self) -> Share:
        """The questions of the other sets that still are answered correctly, of those that were before."""
        return NONE if self.verdict.retain is None else self.verdict.retain.kept

    @property
    def words_note(self) -> str:
        """That words decided, where they did."""
        return words_note(self.verdict)

    @property
    def kept_words(self) -> tuple[str, str]:
        """The heading of `kept`, and what it counts."""
        return kept_words(self.verdict.retain)


NONE = Share(count=0, n=0, low=0.0, high=1.0)
"""The count without questions."""


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


def summarize(run: ReportRun) -> Summary:
    """Decide whether a run forgot and what it kept, and say so in two sentences.

    Args:
        run: The run.

    Returns:
        The headline.
    """
    before, after = (
        {name: judged_answers(rows) for name, rows in run.answered.get(stage, {}).items()}
        for stage in ("before", "after")
    )
    found = verdict(before, after, own_answers=run.own_answers)
    stored = None if run.results is None else run.results.verdict
    if stored is not None:  # these know the refusals that the model was trained on
        found = found.model_copy(
            update={"answers_before": stored.answers_before, "answers_after": stored.answers_after}
        )
    if run.after is None or not after:
        reason = "not scored yet" if run.unfinished else "the run has no records of single questions"
        return Summary(found, f"Forgotten: {reason}.", f"Kept: {reason}.", ("open", "open"))
    if run.kind == "evaluation":
        return _summarize_evaluation(found)
    tones = (
        "open" if found.forget is None else FORGET_TONES[found.forget.state],
        "open" if found.retain is None else RETAIN_TONES[found.retain.state],
    )
    return Summary(found, *verdict_sentences(found), tones)


def _summarize_evaluation(found: Verdict) -> Summary:
    """For an evaluation, which has nothing before."""
    others = [types for name, types in found.answers_after.items() if not is_to_forget(name)]
    right, n = sum(each.right for each in others), sum(each.n for each in others)
    utility = f"It answers {right:,} of the {pluralize(n, 'question')} of the other sets correctly."
    tone: Tone = "open" if found.forget is None else "bad" if found.forget.leaks.count else "good"
    return Summary(found, forget_sentence(found.forget, single=True), utility, (tone, "open"))


def _queue_aggregates(queue: ContinualResults) -> dict[str, Aggregates]:
    over_time, efficacy, last = utility(queue), efficacy_so_far(queue), len(queue.after)
    aggregates = {}
    for time in range(last + 1):
        stage = "before" if time == 0 else "after" if time == last else f"after request {time}"
        aggregates[stage] = Aggregates(over_time.whole[time], over_time.retain[time], efficacy[time])
    return aggregates
