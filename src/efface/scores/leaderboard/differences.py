"""Which questions two models answer differently: where more leaks, and where more is lost."""

from __future__ import annotations

from collections.abc import Mapping

from efface.artifacts import METRICS, Metric
from efface.errors import EffaceError
from efface.frozen import FrozenModel
from efface.scores.definitions import Definition
from efface.scores.leaderboard.question_scores import SetValues, aligned, why_not_comparable
from efface.scores.sets import FORGET, is_forgotten, ordered

_LEAKS: tuple[Metric, ...] = ("rouge", "probability")
"""What tells a leak under a definition without forget efficacy."""


class Answer(FrozenModel):
    """What one model makes of one question."""

    output: str | None
    knows: float
    """Mean of the question's metrics, in [0, 1]: on a forget set how much leaks, on the others how much is kept."""
    metrics: dict[Metric, float]


class Difference(FrozenModel):
    """One question in the eyes of two models."""

    set: str
    id: str
    """In the first model's records."""
    question: str | None
    """None between two logs, which hold no questions."""
    answer: str | None
    first: Answer
    second: Answer
    change: float
    """How much more the second one knows."""
    to_forget: bool
    """The set is one that should be forgotten: a change upwards is a leak."""


def differences(
    first: Mapping[str, SetValues], second: Mapping[str, SetValues], definition: Definition
) -> list[Difference]:
    """Every question that both were asked, the largest change first.

    Raises `EffaceError` where they were not asked the same, and where they share no metric on any set.
    """
    if reason := why_not_comparable(second, first):
        raise EffaceError(f"the two do not compare: the second one {reason}; give two that were asked the same")
    found: list[Difference] = []
    for name in ordered(first):
        found += _of_set(name, first[name], aligned(second[name], first[name].keys), definition)
    if not found:
        raise EffaceError("the two share no metric that tells what is known; evaluate both in the same way")
    return sorted(found, key=lambda each: -abs(each.change))


def _of_set(name: str, one: SetValues, other: SetValues, definition: Definition) -> list[Difference]:
    to_forget = name == FORGET or is_forgotten(name)
    wanted = (definition.efficacy_metrics or _LEAKS) if to_forget else definition.utility_metrics
    metrics: list[Metric] = [each for each in METRICS if each in wanted and one.has(each) and other.has(each)]
    if not metrics:
        return []
    found = []
    for place, number in enumerate(one.ids):
        before, after = _answer(one, place, metrics), _answer(other, place, metrics)
        found.append(
            Difference(
                set=name,
                id=number,
                question=one.questions.get(number, other.questions.get(other.ids[place])),
                answer=one.answers[place],
                first=before,
                second=after,
                change=after.knows - before.knows,
                to_forget=to_forget,
            )
        )
    return found


def _answer(values: SetValues, place: int, metrics: list[Metric]) -> Answer:
    numbers: dict[Metric, float] = {metric: float(values.column(metric)[place]) for metric in metrics}
    return Answer(output=values.outputs[place], knows=sum(numbers.values()) / len(numbers), metrics=numbers)
