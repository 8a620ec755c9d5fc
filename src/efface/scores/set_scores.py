"""The six metrics of one evaluation set, and custom metrics; and why some of them are missing."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from efface.artifacts import METRICS, Metric, SetScores
from efface.scores.custom import custom_score_of
from efface.scores.definitions import Definition
from efface.scores.means import mean
from efface.scores.metrics.cosine_similarity import cosine_similarity
from efface.scores.metrics.entailment import entailment
from efface.scores.metrics.probability import probability
from efface.scores.metrics.rouge import rouge
from efface.scores.metrics.token_entropy import token_entropy
from efface.scores.metrics.truth_ratio import truth_ratio
from efface.scores.question import MetricInputs, Missing
from efface.scores.sets import FORGET, WITH_OPTIONS, is_forgotten


@dataclass(frozen=True)
class Gap:
    """A metric that a set does not have, because some or all of its questions do not."""

    set: str
    metric: str
    """One of the six, or the name of a custom metric."""
    lacking: int
    n: int
    first: str
    """Id of the first question that lacks it."""
    reason: str
    """The most frequent one."""


@dataclass(frozen=True)
class ScoredSet:
    """What is left of a set's questions."""

    scores: SetScores
    gaps: list[Gap]
    embedders: set[str]
    judges: set[str]


def question_metrics(question: MetricInputs, *, set_name: str, definition: Definition) -> dict[Metric, float | Missing]:
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
    name: str, questions: Iterable[MetricInputs], definition: Definition, custom: Sequence[str] = ()
) -> ScoredSet:
    """Average each metric over the questions of one set, holding one at a time; `custom` names the custom metrics.

    A metric that only some questions have is null: an average over fewer questions would be another number.
    """
    columns: dict[str, _Column] = {metric: _Column() for metric in (*METRICS, *custom)}
    embedders, judges, n = set(), set(), 0
    for question in questions:
        n += 1
        six = question_metrics(question, set_name=name, definition=definition)
        for metric, value in (*six.items(), *((each, custom_score_of(question, each)) for each in custom)):
            columns[metric].add(question.id, value)
        embedders.add(question.embedder)
        judges.add(question.judge)
    scores = SetScores(
        n=n,
        **{metric: columns[metric].mean() for metric in METRICS},
        custom={metric: columns[metric].mean() for metric in custom},
    )
    return ScoredSet(
        scores=scores,
        gaps=[column.gap(name, metric, n) for metric, column in columns.items() if column.lacking],
        embedders={each for each in embedders if each is not None},
        judges={each for each in judges if each is not None},
    )


@dataclass
class _Column:
    """One metric, question by question: all that is kept of each."""

    numbers: array[float] = field(default_factory=lambda: array("d"))
    first: str = ""
    """Id of the first question that lacks it."""
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def lacking(self) -> int:
        return self.reasons.total()

    def add(self, question: str, value: float | Missing) -> None:
        if not isinstance(value, Missing):
            self.numbers.append(value)
            return
        self.first = self.first if self.reasons else question
        self.reasons[value.reason] += 1

    def mean(self) -> float | None:
        return None if self.reasons else mean(self.numbers)

    def gap(self, name: str, metric: str, n: int) -> Gap:
        reason = self.reasons.most_common(1)[0][0]
        return Gap(set=name, metric=metric, lacking=self.lacking, n=n, first=self.first, reason=reason)


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
