"""The headline of a run: its aggregates, how many questions leak or broke, and what that means in words. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from efface.artifacts import ContinualResults, Metric, Scores
from efface.report.key_values import pluralize
from efface.report.page.load_run import ReportRun
from efface.report.page.question_rows import QuestionRow, right
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
AGGREGATE_NAMES = {
    "model_utility": "Model Utility",
    "model_utility_retain": "Utility on retain",
    "forget_efficacy": "Forget Efficacy",
}
_FEW, _HALF = 0.05, 0.5
"""Shares of questions from which on words change."""


@dataclass(frozen=True)
class Count:
    """Questions to forget, or to keep."""

    n: int
    knew: int
    """Answered rightly before."""
    bad: int
    """That leak, or are broken."""


@dataclass(frozen=True)
class Summary:
    """What the head of a report says of one run."""

    forget: Count
    keep: Count
    forgot: str
    """One sentence."""
    kept: str
    """One sentence."""
    good: tuple[bool | None, bool | None]
    """Whether the two sentences are good news; None where they are neither."""


def partial_metrics(models: Sequence[Scores]) -> list[list[Metric]] | None:
    """What the partial aggregates are over, each list once, where one of the whole ones is missing; None elsewhere."""
    whole = all(
        getattr(each, name) is not None or getattr(each.partial, name) is None
        for each in models
        for name in AGGREGATE_NAMES
    )
    if whole:
        return None
    found: list[list[Metric]] = []
    for each in models:
        if each.partial.metrics not in found:
            found.append(each.partial.metrics)
    return found


@dataclass(frozen=True)
class Aggregates:
    """Of one model; of a queue's, over the requests until then: the efficacy is their mean."""

    model_utility: float | None
    model_utility_retain: float | None
    forget_efficacy: float | None


def aggregates(run: ReportRun, *, partial: bool) -> dict[str, Aggregates]:
    """Stage -> aggregates, as far as there are some: `before`, each epoch or request, and `after`."""
    if run.queue is not None:
        return _of_queue(run.queue)
    stages = {"before": run.before, **{f"epoch {each.epoch}": each.scores for each in run.epochs}, "after": run.after}
    return {
        stage: Aggregates(**{name: getattr(scores.partial if partial else scores, name) for name in AGGREGATE_NAMES})
        for stage, scores in stages.items()
        if scores is not None
    }


def _of_queue(queue: ContinualResults) -> dict[str, Aggregates]:
    kept, last = utility(queue), len(queue.after)
    found = {}
    for time in range(last + 1):
        stage = "before" if time == 0 else "after" if time == last else f"after request {time}"
        asked = [row[time] for row in queue.forget_efficacy[: time or last]]
        there = [each for each in asked if each is not None]
        efficacy = mean(there) if there and len(there) == len(asked) else None
        found[stage] = Aggregates(kept.whole[time], kept.retain[time], efficacy)
    return found


def scores_of(run: ReportRun) -> list[tuple[str, Scores]]:
    """Stage -> scores, as far as they are there; a single model's stage is blank."""
    stages = (("before", run.before), ("" if run.kind == "evaluation" else "after", run.after))
    return [(stage, scores) for stage, scores in stages if scores is not None]


def summarize(run: ReportRun, rows: Sequence[QuestionRow]) -> Summary:
    """Count and say what became of the questions."""
    forget, keep = _count(row for row in rows if row.to_forget), _count(row for row in rows if not row.to_forget)
    single = run.kind == "evaluation"
    if run.after is None or not rows:
        waiting = "It cannot be said yet" if run.unfinished else "The records of single questions are not there"
        return Summary(forget, keep, f"{waiting}: did it forget?", f"{waiting}: did it keep the rest?", (None, None))
    return Summary(
        forget=forget,
        keep=keep,
        forgot=_forgot(forget, single=single),
        kept=_known(rows) if single else _kept(keep),
        good=(
            _share(forget.bad, forget.n) <= _FEW if forget.n and (forget.knew or single) else None,
            _share(keep.bad, keep.knew) <= _FEW if keep.knew else None,
        ),
    )


def _count(rows: Iterable[QuestionRow]) -> Count:
    there = list(rows)
    knew = sum(each.before_scores is not None and right(each.before_scores) for each in there)
    return Count(n=len(there), knew=knew, bad=sum(each.verdict in ("leaks", "broken") for each in there))


def _forgot(forget: Count, *, single: bool) -> str:
    if not forget.n:
        return "There is no forget set, so nothing says what it forgot."
    share = _share(forget.bad, forget.n)
    if single:
        return f"It answers {forget.bad:,} of the {pluralize(forget.n, 'question')} to forget rightly."
    if not forget.knew:
        return f"There was little to forget: none of the {pluralize(forget.n, 'question')} was answered rightly before."
    verdict = (
        "It forgot"
        if share <= _FEW
        else "It forgot in part"
        if forget.bad < forget.knew * (1 - _FEW)
        else ("It did not forget")
    )
    return (
        f"{verdict}: of {pluralize(forget.n, 'question')} to forget, it answered {forget.knew:,} rightly before "
        f"and {forget.bad:,} after."
    )


def _kept(keep: Count) -> str:
    if not keep.n:
        return "There is no set to keep, so nothing says what broke."
    if not keep.knew:
        return (
            f"None of the {pluralize(keep.n, 'question')} to keep was answered rightly before, so little could break."
        )
    share = _share(keep.bad, keep.knew)
    verdict = (
        "It kept the rest"
        if share <= _FEW
        else "It lost some of the rest"
        if share < _HALF
        else ("It broke most of the rest")
    )
    return (
        f"{verdict}: of {pluralize(keep.n, 'question')} to keep, {keep.knew:,} were answered rightly before; "
        f"{keep.bad:,} of these no longer are."
    )


def _known(rows: Sequence[QuestionRow]) -> str:
    kept = [row for row in rows if not row.to_forget]
    known = sum(row.verdict == "kept" for row in kept)
    return f"It answers {known:,} of the {pluralize(len(kept), 'question')} to keep rightly."


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
