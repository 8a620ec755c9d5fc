"""efface as a library: the commands as functions."""

from __future__ import annotations

from efface.api.continual import UnlearnedContinually, unlearn_continually
from efface.api.evaluating import Evaluated, evaluate
from efface.api.unlearning import Unlearned, unlearn

__all__ = ["Evaluated", "Unlearned", "UnlearnedContinually", "evaluate", "unlearn", "unlearn_continually"]
