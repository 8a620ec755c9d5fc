"""The six metrics of one evaluation set, and the user's own; and why some of them are missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from efface.artifacts import METRICS, Metric, SetScores
from efface.scores.arithmetic import mean
from efface.scores.cosine_similarity import cosine_similarity
from efface.scores.definitions import Definition
from efface.scores.entailment import entailment
from efface.scores.own import own_of
from efface.scores.probability import probability
from efface.scores.question import Missing, Question
from efface.scores.rouge import rouge
from efface.scores.sets import FORGET, WITH_OPTIONS, is_forgotten
from efface.scores.token_entropy import token_entropy
from efface.scores.truth_ratio import truth_ratio


@dataclass(frozen=True)
class Gap:
    """A metric that a set does not have, because some or all of its questions do not."""

    set: str
    metric: str
    """One of the six, or the name of an own one."""
    lacking: int
    n: int
    first: str
    """Id of the first question that lacks it."""
    reason: str
    """The most frequent one."""


def question_metrics(question: Question, *, set_name: str, definition: Definition) -> dict[Metric, float | Missing]:
    """The six metrics of one question, each in [0, 1]."""
    recall = rouge(question)
    return {
        "rouge": recall,
        "probability": probability(question, over_options=set_name in WITH_OPTIONS, log_epsilon=definition.log_epsilon),
        "truth_ratio": truth_ratio(
            question,
            forget_form=definition.forget_form if set_name == FORGET or is_forgotten(set_name) else None,
            wrong_answers=definition.wrong_answers,
            log_epsilon=definition.log_epsilon,
        ),
        "token_entropy": token_entropy(question),
        "cosine_similarity": cosine_similarity(question, target=definition.cosine_target),
        "entailment": entailment(question, recall),
    }


def score_set(
    name: str, questions: Sequence[Question], definition: Definition, own: Sequence[str] = ()
) -> tuple[SetScores, list[Gap]]:
    """Average each metric over the questions of one set; `own` names the user's metrics.

    A metric that only some questions have is null: an average over fewer questions would be another number.
    """
    rows = [question_metrics(question, set_name=name, definition=definition) for question in questions]
    columns: dict[str, list[float | Missing]] = {metric: [row[metric] for row in rows] for metric in METRICS}
    columns |= {metric: [own_of(question, metric) for question in questions] for metric in own}
    means = {metric: _mean(column) for metric, column in columns.items()}
    gaps = [_gap(name, metric, questions, columns[metric]) for metric, value in means.items() if value is None]
    scores = SetScores(
        n=len(questions),
        **{metric: means[metric] for metric in METRICS},
        own={metric: means[metric] for metric in own},
    )
    return scores, gaps


def _mean(column: Sequence[float | Missing]) -> float | None:
    numbers = [value for value in column if not isinstance(value, Missing)]
    return mean(numbers) if len(numbers) == len(column) else None


def _gap(name: str, metric: str, questions: Sequence[Question], column: list[float | Missing]) -> Gap:
    missing = [
        (question.id, value) for question, value in zip(questions, column, strict=True) if isinstance(value, Missing)
    ]
    reasons = Counter(value.reason for _, value in missing)
    return Gap(
        set=name,
        metric=metric,
        lacking=len(missing),
        n=len(questions),
        first=missing[0][0],
        reason=reasons.most_common(1)[0][0],
    )


def explain(gaps: Iterable[Gap]) -> dict[str, str]:
    """Metric -> one sentence: the sets that lack it, with counts where only some questions do, and why."""
    by_metric: dict[str, dict[str, list[str]]] = {}
    for gap in gaps:
        part = gap.set
        if gap.lacking < gap.n:
            part += f" ({gap.lacking} of {gap.n} questions, first {gap.first})"
        by_metric.setdefault(gap.metric, {}).setdefault(gap.reason, []).append(part)
    return {
        metric: "; ".join(f"{', '.join(parts)}: {reason}" for reason, parts in reasons.items())
        for metric, reasons in by_metric.items()
    }
