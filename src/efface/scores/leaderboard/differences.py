"""Questions that two models answer differently: where more of the forget set leaks, and where more is lost."""

from __future__ import annotations

from collections.abc import Mapping

from efface.artifacts import METRICS, Metric
from efface.errors import EffaceError
from efface.frozen import FrozenModel
from efface.scores.definitions import Definition
from efface.scores.leaderboard.question_scores import SetValues, align, incomparable_reason
from efface.scores.sets import MEMBERSHIP_SETS, is_to_forget, sort_names

_LEAK_METRICS: tuple[Metric, ...] = ("rouge", "probability")
"""Metrics that show a leak under a definition without forget efficacy."""


class Answer(FrozenModel):
    """One model's output and scores for one question."""

    output: str | None
    knows: float
    """Mean of the question's metrics, in [0, 1]: how much the model still knows of the answer."""
    metrics: dict[Metric, float]


class Difference(FrozenModel):
    """One question, answered by two models."""

    set: str
    id: str
    """In the first model's records."""
    question: str | None
    """None for two eval logs, which do not have the questions."""
    answer: str | None
    first: Answer
    second: Answer
    change: float
    """`knows` of the second model minus that of the first."""
    to_forget: bool
    """Whether it belongs to a forget set: an increase is then a leak."""


def differences(
    first: Mapping[str, SetValues], second: Mapping[str, SetValues], definition: Definition
) -> list[Difference]:
    """Compare two models question by question.

    Args:
        first: Set name -> question scores of the first model.
        second: The same of the second model.
        definition: Which metrics are compared.

    Returns:
        Every question of every set, the largest absolute change first.

    Raises:
        EffaceError: When the questions of the models are not the same, or they share no metric on any set.
    """
    if reason := incomparable_reason(second, first):
        raise EffaceError(f"the models are not comparable: the second one {reason}; evaluate both on the same data")
    changes: list[Difference] = []
    for name in (each for each in sort_names(first) if each not in MEMBERSHIP_SETS):
        changes += _set_differences(name, first[name], align(second[name], first[name].keys), definition)
    if not changes:
        raise EffaceError("the models share no metric of what they know; evaluate both with the same settings")
    return sorted(changes, key=lambda each: -abs(each.change))


def _set_differences(name: str, first: SetValues, second: SetValues, definition: Definition) -> list[Difference]:
    to_forget = is_to_forget(name)
    candidates = (definition.efficacy_metrics or _LEAK_METRICS) if to_forget else definition.utility_metrics
    metrics: list[Metric] = [each for each in METRICS if each in candidates and first.has(each) and second.has(each)]
    if not metrics:
        return []
    changes = []
    for index, id_ in enumerate(first.ids):
        answers = _answer(first, index, metrics), _answer(second, index, metrics)
        changes.append(
            Difference(
                set=name,
                id=id_,
                question=first.questions.get(id_, second.questions.get(second.ids[index])),
                answer=first.answers[index],
                first=answers[0],
                second=answers[1],
                change=answers[1].knows - answers[0].knows,
                to_forget=to_forget,
            )
        )
    return changes


def _answer(values: SetValues, index: int, metrics: list[Metric]) -> Answer:
    numbers: dict[Metric, float] = {metric: float(values.column(metric)[index]) for metric in metrics}
    return Answer(output=values.outputs[index], knows=sum(numbers.values()) / len(numbers), metrics=numbers)
