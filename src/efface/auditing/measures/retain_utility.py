"""How well a model still answers questions of the retain set, beside an attack that damages weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from efface.auditing.attack import Context, ModelName
from efface.auditing.fact import Row
from efface.auditing.subject import Subject
from efface.schema import Item
from efface.scores.means import mean
from efface.scores.metrics.rouge import rouge_l_recall
from efface.spacing import evenly_spaced

QUESTIONS = 20
"""The most that are asked."""


def asked_items(context: Context) -> Sequence[Item]:
    """The questions of the retain set that are asked; passages are none."""
    return evenly_spaced([item for item in context.retain if not item.passage], QUESTIONS)


def retain_utility(subject: Subject, context: Context) -> float | None:
    """Mean ROUGE-L recall of greedy answers to questions of the retain set.

    Args:
        subject: The model.
        context: Of the audit.

    Returns:
        A number in [0, 1]; None where the run scored no retain set.
    """
    items = asked_items(context)
    if not items:
        return None
    outputs = subject.answer([item.prompt for item in items], max_new_tokens=context.max_new_tokens)
    return mean([rouge_l_recall(item.scored_answer, output) for item, output in zip(items, outputs, strict=True)])


class IntactUtility:
    """`retain_utility` of unchanged models, computed once for each: an attack with many variants compares with it."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Any, float | None] = WeakKeyDictionary()

    def __call__(self, subject: Subject, context: Context) -> float | None:
        """`retain_utility`; the model's weights must be its own."""
        if subject.model not in self._known:
            self._known[subject.model] = retain_utility(subject, context)
        return self._known[subject.model]


def utility_numbers(intact: float | None, changed: float | None) -> dict[str, float]:
    """The two as numbers of a row; none where there is no retain set.

    Args:
        intact: `retain_utility` of the model as it was.
        changed: That of the model that the attack has changed.

    Returns:
        `retain_utility`, of the changed model, and `retain_utility_intact`; empty where one of them is None.
    """
    if intact is None or changed is None:
        return {}
    return {"retain_utility": changed, "retain_utility_intact": intact}


def utility_scalars(rows: Mapping[ModelName, Sequence[Row]]) -> dict[str, float | None]:
    """The utilities in rows: `retain_utility_VARIANT_MODEL`, a mean over seeds, and `retain_utility_MODEL`."""
    found: dict[str, float | None] = {}
    for model, listed in rows.items():
        by_variant: dict[str, dict[int, float]] = {}
        for row in listed:
            if "retain_utility" in row.numbers:
                by_variant.setdefault(row.variant, {})[row.seed] = row.numbers["retain_utility"]
                found[f"retain_utility_{model}"] = row.numbers["retain_utility_intact"]
        for variant, of_seeds in by_variant.items():
            found[f"retain_utility_{variant}_{model}"] = mean([*of_seeds.values()])
    return found
