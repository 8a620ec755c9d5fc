from __future__ import annotations

from pathlib import Path

import pytest

from efface.auditing.attacks.sample import COUNTED, Sample
from efface.auditing.audit import audit
from efface.auditing.config import AuditConfig
from efface.config.parse import validate_config
from support.audited import facts, row_of


def test_the_curve_is_the_estimate_of_leak_at_k() -> None:
    rows = [
        row_of(each, hit=bool(hits), attack="sample", variant="t1.0", numbers={"samples": 4.0, "hits": float(hits)})
        for each, hits in zip(facts(2), (0, 2), strict=True)
    ]
    assert Sample().scalars({"after": rows}) == {
        "after leak@1": pytest.approx(0.25),
        "after leak@2": pytest.approx((0 + 1 - 1 / 6) / 2),
        "after leak@4": pytest.approx(0.5),
    }


def test_more_samples_do_not_change_the_headline() -> None:
    attack = Sample()
    assert [unit.variant for unit in attack.units("quick")] == ["t1.0"]
    assert {(unit.variant, unit.seed) for unit in attack.units("full")} >= {("t1.0", 2), ("t0.8", 0)}
    assert COUNTED == 16


def test_samples_of_a_run(hidden_run: Path) -> None:
    config = validate_config(AuditConfig, {"audit": {"attacks": "sample"}, "device": "cpu"})
    results = audit(config, hidden_run)
    assert results.attacks["sample"].numbers["samples"] == 16
    curve = [value or 0 for name, value in results.scalars["sample"].items() if name.startswith("after")]
    assert curve == sorted(curve)
