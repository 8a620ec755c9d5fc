"""The six metrics of each question, as arrays; and whether two models are comparable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from efface.artifacts import METRICS, Metric, SetScores, UncountedMetric
from efface.scores.definitions import Definition
from efface.scores.inputs.metric_inputs import MetricInputs, Missing
from efface.scores.means import mean
from efface.scores.metrics.token_entropy import EntropyTokens, counted_tokens
from efface.scores.set_scores import question_metrics, uncounted_metrics

Array: TypeAlias = NDArray[np.float64]
Key: TypeAlias = tuple[str, int]


@dataclass(frozen=True)
class SetValues:
    """One model's scores on each question of one set, in the order of its records."""

    ids: tuple[str, ...]
    answers: tuple[str | None, ...]
    """Reference answers; None in logs without texts."""
    outputs: tuple[str | None, ...]
    columns_NM: Array
    """One column for each of `METRICS`, in [0, 1]; NaN where a question does not have the metric."""
    embedders: frozenset[str | None]
    """Of the questions that have a cosine similarity."""
    judges: frozenset[str | None]
    """Of the questions that have an entailment label."""
    questions: Mapping[str, str] = field(default_factory=dict)
    """Id -> the question's text, which logs do not have."""
    uncounted: Mapping[UncountedMetric, float] = field(default_factory=dict)
    """Means over the questions, of metrics in no aggregate that every question has."""
    entropy_tokens: frozenset[EntropyTokens] = frozenset()
    """What the token entropies of the questions count."""

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """Identify each question in any source: by its reference answer, and its number among those with the same one.

        Ids differ between sources: logs number questions, records name them. They are used where an answer is missing.
        """
        seen: Counter[str] = Counter()
        has_answers = None not in self.answers
        keys = []
        for id_, answer in zip(self.ids, self.answers, strict=True):
            text = " ".join(answer.split()) if has_answers and answer is not None else id_
            keys.append((text, seen[text]))
            seen[text] += 1
        return tuple(keys)

    @cached_property
    def indices(self) -> dict[Key, int]:
        """Key -> index of its question."""
        return {key: index for index, key in enumerate(self.keys)}

    def has(self, metric: Metric) -> bool:
        """Whether every question has a metric."""
        return not bool(np.isnan(self.column(metric)).any())

    def column(self, metric: Metric) -> Array:
        """One metric of each question, [N]."""
        column: Array = self.columns_NM[:, METRICS.index(metric)]
        return column

    def scores(self) -> SetScores:
        """The means, identical to those of `efface score`; None where a question does not have the metric."""
        means = {metric: mean(self.column(metric).tolist()) if self.has(metric) else None for metric in METRICS}
        return SetScores(n=len(self.ids), **means, **{str(name): value for name, value in self.uncounted.items()})


def set_values(
    name: str, questions: Iterable[MetricInputs], definition: Definition, texts: Mapping[str, str] | None = None
) -> SetValues:
    """Score each question of one set.

    Args:
        name: Name of the set.
        questions: Metric inputs of its questions.
        definition: The score definition.
        texts: Id -> text of the question; may be filled while `questions` are iterated over.

    Returns:
        The scores of all questions.
    """
    ids, answers, outputs, rows = [], [], [], []
    embedders: set[str | None] = set()
    judges: set[str | None] = set()
    counted: set[EntropyTokens | None] = set()
    uncounted: dict[UncountedMetric, list[float]] = {}
    for inputs in questions:
        six = question_metrics(inputs, set_name=name, definition=definition)
        rows.append([np.nan if isinstance(value, Missing) else value for value in (six[each] for each in METRICS)])
        for metric, value in uncounted_metrics(inputs, definition).items():
            if not isinstance(value, Missing):
                uncounted.setdefault(metric, []).append(value)
        ids.append(inputs.id)
        answers.append(inputs.answer)
        outputs.append(inputs.output)
        counted.add(counted_tokens(inputs, definition.entropy_tokens))
        if not isinstance(six["cosine_similarity"], Missing):
            embedders.add(inputs.embedder)
        if not isinstance(six["entailment"], Missing):
            judges.add(inputs.judge)
    return SetValues(
        ids=tuple(ids),
        answers=tuple(answers),
        outputs=tuple(outputs),
        columns_NM=np.array(rows, dtype=np.float64),
        embedders=frozenset(embedders),
        judges=frozenset(judges),
        questions=texts or {},
        uncounted={metric: mean(values) for metric, values in uncounted.items() if len(values) == len(ids)},
        entropy_tokens=frozenset(each for each in counted if each is not None),
    )


def align(values: SetValues, keys: tuple[Key, ...]) -> SetValues:
    """The same scores with the questions in the order of `keys`, all of which must exist.

    Args:
        values: One model's scores on a set.
        keys: Which questions, and in which order; see `SetValues.keys`.

    Returns:
        The scores; questions that are not among the keys are left out.

    Raises:
        KeyError: A key has no question.
    """
    order = [values.indices[key] for key in keys]
    return replace(
        values,
        ids=tuple(values.ids[each] for each in order),
        answers=tuple(values.answers[each] for each in order),
        outputs=tuple(values.outputs[each] for each in order),
        columns_NM=values.columns_NM[order],
    )


def incomparable_reason(one: Mapping[str, SetValues], other: Mapping[str, SetValues]) -> str | None:
    """Explain why the scores of two models are not comparable.

    Args:
        one: Set name -> question scores of one model.
        other: The same of another model.

    Returns:
        The rest of a sentence whose subject is the first model; None if they are comparable.
    """
    if set(one) != set(other):
        return f"has the sets {', '.join(one)}, and not {', '.join(other)}"
    for name, values in one.items():
        reason = _different_questions(values, other[name]) or _different_judges(values, other[name])
        if reason:
            return f"{reason} on {name}"
    return None


def _different_questions(one: SetValues, other: SetValues) -> str | None:
    if len(one.ids) != len(other.ids):
        return f"has {len(one.ids)} questions and not {len(other.ids)}"
    for key, id_ in zip(one.keys, one.ids, strict=True):
        index = other.indices.get(key)
        text = one.questions.get(id_)
        if index is None or text not in (None, other.questions.get(other.ids[index], text)):
            return f"has other questions (first {id_})"
    return None


def _different_judges(one: SetValues, other: SetValues) -> str | None:
    for model_type, names, other_names in (
        ("embedding model", one.embedders, other.embedders),
        ("judge", one.judges, other.judges),
    ):
        if names and other_names and names != other_names:
            return f"was scored by the {model_type} {_listed(names)} and not {_listed(other_names)}"
    return None


def _listed(names: frozenset[str | None]) -> str:
    return ", ".join(sorted("(unnamed)" if each is None else each for each in names))
