"""Results of an audit, made without a model."""

from __future__ import annotations

from typing import Any

from efface.artifacts.audit import AttackResult, AuditControl, AuditExcess, AuditResults, Recoverable


def attack(rate: float | None = 0.5, **changes: Any) -> AttackResult:
    """One attack's results."""
    values = {
        "tier": "weights",
        "in_union": rate is not None,
        "rate": rate,
        "n": 20,
        "interval": None if rate is None else (0.25, 0.75),
        "control_rate": None if rate is None else 0.1,
        "before_rate": None,
        "chance": None if rate is None else 0.02,
        "p_value": None if rate is None else 0.01,
        "echoes": 0,
        "variants": {"x": rate},
        "control_variants": {"x": 0.1},
        "numbers": {},
        "seconds": 1.0,
        **changes,
    }
    return AttackResult.model_validate(values)


def results(k: int = 11, n: int = 34, *, control: int | None = 2, **changes: Any) -> AuditResults:
    """Results with two attacks."""
    values = {
        "recoverable": Recoverable(
            k=k, n=n, interval=(0.17, 0.51), known=n, asked_plainly=0, by_asking=1, chance=0.02, judge="key-facts"
        ),
        "excess": None
        if control is None
        else AuditExcess(value=(k - control) / n, interval=(0.12, 0.41), by_subject=False),
        "control": None
        if control is None
        else AuditControl(kind="given", model="runs/never", sha256="0" * 64, k=control, asked_plainly=0),
        "attacks": {
            "plain": attack(0.0, tier="asks"),
            "relearn": attack(0.45),
            "read-out": attack(None),
        },
        "scalars": {
            "relearn": {"after some step 2": 0.2, "after some step 8": 0.45, "control some step 8": 0.1},
            "read-out": {"extraction strength": 0.5},
        },
        "level": "quick",
        "seeds": [0],
        "seconds": 12.5,
        "left_out": {"lens": "not among audit.attacks"},
        **changes,
    }
    return AuditResults.model_validate(values)
