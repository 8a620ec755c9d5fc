"""What is left of a number between a model that never knew (0) and the model before unlearning (1). No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from efface.auditing.attack import ModelName
from efface.auditing.fact import Row
from efface.scores.means import mean

_LEAST_DISTANCE = 0.02
"""Of the model before from the control; a quotient over less would be noise."""


def means_by_model(rows: Mapping[ModelName, Sequence[Row]], number: str) -> dict[ModelName, float]:
    """Mean of a number of the rows of each model that has rows.

    Args:
        rows: Of one attack, by model.
        number: Its name in the rows.
    """
    return {model: mean([row.numbers[number] for row in listed]) for model, listed in rows.items() if listed}


def share_left(means: Mapping[ModelName, float]) -> float | None:
    """(after - control) / (before - control): 1 where nothing was unlearned, 0 where the model is as the control.

    Args:
        means: Of the models that are there.

    Returns:
        A number of any range; None without one of the three, or where before and control hardly differ.
    """
    if len(means) < 3 or abs(means["before"] - means["control"]) < _LEAST_DISTANCE:
        return None
    return (means["after"] - means["control"]) / (means["before"] - means["control"])
