from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from efface.auditing.measures.gradient_norm import gradient_norm
from efface.text.sequence import TokenizedSequence
from support.audit_models import GOLDEN, load


@pytest.fixture(scope="module")
def model() -> Any:
    return load(dtype=torch.float64)


@pytest.mark.parametrize(("attack", "order"), [("gradnorm", 2), ("gradnorm_1", 1), ("gradnorm_inf", math.inf)])
def test_norms_are_open_unlearnings(shared: Path, model: Any, attack: str, order: float) -> None:
    stored = json.loads((shared / "golden/open_unlearning/losses_and_metrics.json").read_text())["metrics"]
    views = json.loads((GOLDEN / "objectives.json").read_text())["views"]
    rows = [row for part in ("retain", "retain_idk") for row in views[part]]
    sequences = [TokenizedSequence("", row["prompt"], row["answer"]) for row in rows]
    norms = [gradient_norm(model, each, counted=each.answer_length - 1, order=order) for each in sequences]
    assert norms == pytest.approx(stored["membership"][attack]["holdout"], rel=1e-6)


def test_the_model_is_left_as_it_was(model: Any) -> None:
    model.requires_grad_(False)
    first, *others = model.parameters()
    first.requires_grad_(True)
    sequence = TokenizedSequence("", [5, 6, 7], [8, 9, 10])
    assert gradient_norm(model, sequence, counted=2) > 0
    assert first.requires_grad
    assert not any(each.requires_grad for each in others)
    assert all(each.grad is None for each in model.parameters())


def test_only_counted_tokens_count(model: Any) -> None:
    norms = [gradient_norm(model, TokenizedSequence("", [5, 6, 7], [8, 9, last]), counted=2) for last in (10, 11)]
    assert norms[0] == norms[1]
