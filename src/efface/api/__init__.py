"""efface as a library: what the commands do as functions."""

from __future__ import annotations

from efface.api.continual import UnlearnedInTurn, unlearn_in_turn
from efface.api.evaluating import Evaluated, evaluate
from efface.api.unlearning import Unlearned, unlearn

__all__ = ["Evaluated", "Unlearned", "UnlearnedInTurn", "evaluate", "unlearn", "unlearn_in_turn"]
