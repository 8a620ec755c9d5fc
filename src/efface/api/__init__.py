"""`efface` as a library: a model and data as Python objects -> an unlearned model, results and records."""

from __future__ import annotations

from efface.api.auditing import audit
from efface.api.continual import UnlearnedContinually, unlearn_continually
from efface.api.evaluating import Evaluated, evaluate
from efface.api.finetuning import finetune
from efface.api.tuning import tune
from efface.api.unlearning import Unlearned, unlearn

__all__ = [
    "Evaluated",
    "Unlearned",
    "UnlearnedContinually",
    "audit",
    "evaluate",
    "finetune",
    "tune",
    "unlearn",
    "unlearn_continually",
]
