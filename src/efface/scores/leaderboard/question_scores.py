"""The six metrics question by question, as arrays; and whether two models were asked the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from efface.artifacts import METRICS, Metric, SetScores
from efface.scores.definitions import Definition
from efface.scores.means import mean
from efface.scores.question import MetricInputs, Missing
from efface.scores.set_scores import question_metrics

Array: TypeAlias = NDArray[np.float64]
Key: TypeAlias = tuple[str, int]


@dataclass(frozen=True)
class SetValues:
    """What one model scores on each question of one set, in the order of its records."""

    ids: tuple[str, ...]
    answers: tuple[str | None, ...]
    """The right ones; None in logs without texts."""
    outputs: tuple[str | None, ...]
    columns_NM: Array
    """One column for each of `METRICS`, each number in [0, 1]; NaN where a question lacks it."""
    embedders: frozenset[str | None]
    """Of the questions that have a cosine similarity."""
    judges: frozenset[str | None]
    """Of the questions that have an entailment label."""
    questions: Mapping[str, str] = field(default_factory=dict)
    """Id -> the question as it was asked, which logs do not tell."""

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """What tells a question from the others in any source: its right answer and its place among those of the same.

        Ids do not, for a log counts where a record has a name. They stand in where an answer is not there.
        """
        seen: Counter[str] = Counter()
        whole = None not in self.answers
        keys = []
        for name, answer in zip(self.ids, self.answers, strict=True):
            text = " ".join(answer.split()) if whole and answer is not None else name
            keys.append((text, seen[text]))
            seen[text] += 1
        return tuple(keys)

    @cached_property
    def places(self) -> dict[Key, int]:
        """Where the question of each key stands."""
        return {key: place for place, key in enumerate(self.keys)}

    def has(self, metric: Metric) -> bool:
        """Whether every question has it."""
        return not bool(np.isnan(self.column(metric)).any())

    def column(self, metric: Metric) -> Array:
        """One metric, question by question."""
        column: Array = self.columns_NM[:, METRICS.index(metric)]
        return column

    def scores(self) -> SetScores:
        """The means, to the last digit those of `efface score`; None where a question lacks the metric."""
        means = {metric: mean(self.column(metric).tolist()) if self.has(metric) else None for metric in METRICS}
        return SetScores(n=len(self.ids), **means)


def set_values(
    name: str, questions: Iterable[MetricInputs], definition: Definition, asked: Mapping[str, str] | None = None
) -> SetValues:
    """Score each question of the set `name`; `asked`: id -> the question's text, filled while `questions` are read."""
    ids, answers, outputs, rows = [], [], [], []
    embedders: set[str | None] = set()
    judges: set[str | None] = set()
    for question in questions:
        six = question_metrics(question, set_name=name, definition=definition)
        rows.append([np.nan if isinstance(value, Missing) else value for value in (six[each] for each in METRICS)])
        ids.append(question.id)
        answers.append(question.answer)
        outputs.append(question.output)
        if not isinstance(six["cosine_similarity"], Missing):
            embedders.add(question.embedder)
        if not isinstance(six["entailment"], Missing):
            judges.add(question.judge)
    return SetValues(
        ids=tuple(ids),
        answers=tuple(answers),
        outputs=tuple(outputs),
        columns_NM=np.array(rows, dtype=np.float64),
        embedders=frozenset(embedders),
        judges=frozenset(judges),
        questions=asked or {},
    )


def aligned(values: SetValues, keys: tuple[Key, ...]) -> SetValues:
    """The same with its questions in the order of `keys`, which are all there."""
    order = [values.places[key] for key in keys]
    return SetValues(
        ids=tuple(values.ids[each] for each in order),
        answers=tuple(values.answers[each] for each in order),
        outputs=tuple(values.outputs[each] for each in order),
        columns_NM=values.columns_NM[order],
        embedders=values.embedders,
        judges=values.judges,
        questions=values.questions,
    )


def why_not_comparable(one: Mapping[str, SetValues], other: Mapping[str, SetValues]) -> str | None:
    """Why the scores of two models do not compare, to go behind "it"; None where they do."""
    if set(one) != set(other):
        return f"has the sets {', '.join(one)}, and not {', '.join(other)}"
    for name, values in one.items():
        reason = _other_questions(values, other[name]) or _other_judges(values, other[name])
        if reason:
            return f"{reason} on {name}"
    return None


def _other_questions(one: SetValues, other: SetValues) -> str | None:
    if len(one.ids) != len(other.ids):
        return f"has {len(one.ids)} questions and not {len(other.ids)}"
    for key, name in zip(one.keys, one.ids, strict=True):
        place = other.places.get(key)
        asked = one.questions.get(name)
        if place is None or asked not in (None, other.questions.get(other.ids[place], asked)):
            return f"was asked other questions (first {name})"
    return None


def _other_judges(one: SetValues, other: SetValues) -> str | None:
    for what, mine, others in (
        ("embedding model", one.embedders, other.embedders),
        ("judge", one.judges, other.judges),
    ):
        if mine and others and mine != others:
            return f"was scored by the {what} {_named(mine)} and not {_named(others)}"
    return None


def _named(models: frozenset[str | None]) -> str:
    return ", ".join(sorted("(unnamed)" if each is None else each for each in models))
