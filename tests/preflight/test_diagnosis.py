"""Sums of a forecast, and what a diagnosis says as JSON."""

from __future__ import annotations

import pytest

from efface.preflight.diagnosis import Diagnosis, Finding, Forecast, Times
from efface.preflight.machine import inspect_machine

NUMBERS = {name: 10**place for place, name in enumerate(Forecast.model_fields) if name != "precision"}


def forecast(**changes):
    return Forecast(**NUMBERS | {"precision": "float32", "checkpointing": False} | changes)


def test_peak_memory_sums():
    found = forecast()
    assert found.activations == found.tokens * found.activations_per_token
    state = ("weights", "gradients", "optimizer", "reference", "copies", "activations", "logits")
    assert found.training == sum(getattr(found, name) for name in state)
    assert found.evaluation == found.evaluated_weights + found.cache + found.evaluation_work


@pytest.mark.parametrize(
    ("checkpoints", "epochs", "disk"),
    [(0, 0, 5), (1, 0, 7 + 5), (2, 0, 14), (2, 3, 7 + 2 * 5 + 3)],
)
def test_peak_space_on_disk(checkpoints, epochs, disk):
    found = forecast(checkpoint=7, checkpoints=checkpoints, saved=5, epochs=epochs, states=0)
    assert found.disk == disk
    assert forecast(checkpoint=7, checkpoints=checkpoints, saved=5, epochs=epochs, states=11).disk == disk + 11


def test_total_time():
    assert Times(answers=1.0, unlearning=2.0, evaluation=4.0, evaluations=3).total == 15.0


def test_json_has_the_sums_and_problems_are_found():
    findings = [Finding(level=level, about=level, text="") for level in ("ok", "warning", "problem")]
    found = Diagnosis(machine=inspect_machine(), findings=findings, forecast=forecast())
    assert [each.about for each in found.problems] == ["problem"]
    assert {"activations", "training", "evaluation", "disk"} <= found.model_dump()["forecast"].keys()
