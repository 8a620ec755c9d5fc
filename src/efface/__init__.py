"""efface: make a language model forget, and measure what it still knows.

`unlearn`, `unlearn_continually`, `tune`, `finetune`, `evaluate` and `audit` do what the command does;
`ForgetObjective`, `RetainObjective`, `RecordMetric` and `Attack` are the base classes of custom methods, metrics and
attacks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from efface.errors import EffaceError

if TYPE_CHECKING:
    from efface.api import (
        Evaluated,
        Unlearned,
        UnlearnedContinually,
        audit,
        evaluate,
        finetune,
        tune,
        unlearn,
        unlearn_continually,
    )
    from efface.artifacts import ContinualResults, Results, Scores
    from efface.artifacts.audit import AuditResults
    from efface.auditing.attack import Attack
    from efface.objectives.config import ObjectiveConfig
    from efface.objectives.custom import ForgetObjective, RetainObjective
    from efface.objectives.terms import DistributionTerm, SequenceTerm, Term, TokenTerm
    from efface.records import Record
    from efface.schema import Item
    from efface.scores.custom import RecordMetric
    from efface.train.losses import losses
    from efface.train.step import Losses

__version__ = "0.1.0"
__all__ = [
    "Attack",
    "AuditResults",
    "ContinualResults",
    "DistributionTerm",
    "EffaceError",
    "Evaluated",
    "ForgetObjective",
    "Item",
    "Losses",
    "ObjectiveConfig",
    "Record",
    "RecordMetric",
    "Results",
    "RetainObjective",
    "Scores",
    "SequenceTerm",
    "Term",
    "TokenTerm",
    "Unlearned",
    "UnlearnedContinually",
    "__version__",
    "audit",
    "evaluate",
    "finetune",
    "losses",
    "tune",
    "unlearn",
    "unlearn_continually",
]

_MODULES = {
    "efface.api": (
        "Evaluated",
        "Unlearned",
        "UnlearnedContinually",
        "audit",
        "evaluate",
        "finetune",
        "tune",
        "unlearn",
        "unlearn_continually",
    ),
    "efface.artifacts": ("ContinualResults", "Results", "Scores"),
    "efface.auditing.attack": ("Attack",),
    "efface.artifacts.audit": ("AuditResults",),
    "efface.objectives.config": ("ObjectiveConfig",),
    "efface.objectives.custom": ("ForgetObjective", "RetainObjective"),
    "efface.objectives.terms": ("DistributionTerm", "SequenceTerm", "Term", "TokenTerm"),
    "efface.records": ("Record",),
    "efface.schema": ("Item",),
    "efface.scores.custom": ("RecordMetric",),
    "efface.train.losses": ("losses",),
    "efface.train.step": ("Losses",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


if not TYPE_CHECKING:  # mypy would accept every name otherwise

    def __getattr__(name: str) -> Any:  # lazy: `import efface` must not import torch
        if name in _MODULE_OF:
            return getattr(import_module(_MODULE_OF[name]), name)
        raise AttributeError(f"module 'efface' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
