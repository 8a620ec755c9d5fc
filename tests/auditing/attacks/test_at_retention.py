from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from efface.auditing.attack import ModelName, Unit
from efface.auditing.attacks.at_retention import RETENTION, AtRetention
from efface.auditing.subject import Subject
from efface.errors import EffaceError
from support.audit_models import context, facts, knowing, load, not_knowing, subject
from support.messages import assert_names

UNIT = Unit("95")


def scalars_of(after: Subject) -> dict[str, float | None]:
    """Of an audit with the model that knows as the one before."""
    asked = facts()
    subjects: dict[ModelName, Subject] = {"before": subject(knowing(), "before"), "after": after}
    around = context(asked, subjects)
    before = AtRetention().run(subjects["before"], asked, UNIT, around)
    rows = AtRetention().run(after, asked, UNIT, replace(around, rows={"before": before}))
    return AtRetention().scalars({"before": before, "after": rows})


def test_a_model_that_keeps_enough_is_measured_as_it_is() -> None:
    found = scalars_of(subject(not_knowing()))
    assert found["share_before_after"] == 0
    assert found["extraction_strength_before"] == found["retained_before"] == found["retained_after"] == 1
    assert found["extraction_strength_after"] < 0.5  # type: ignore[operator]


def test_a_broken_model_gets_back_what_it_forgot_with_what_it_kept() -> None:
    broken = load()
    kept = {name: each.clone() for name, each in broken.named_parameters()}
    found = scalars_of(subject(broken))
    assert 0 < found["share_before_after"] <= 1  # type: ignore[operator]
    assert found["retained_after"] >= RETENTION  # type: ignore[operator]
    assert found["extraction_strength_after"] > 0.5  # type: ignore[operator]
    assert all(torch.equal(each, kept[name]) for name, each in broken.named_parameters())


def test_without_a_retain_set_it_is_left_out_with_a_sentence() -> None:
    asked = facts(2)
    with pytest.raises(EffaceError) as error:
        AtRetention().run(subject(knowing(), "before"), asked, UNIT, context(asked, {}, retain=()))
    assert_names(str(error.value), "retain")


def test_quick_leaves_it_out() -> None:
    assert AtRetention().units("quick") == []
    assert AtRetention().units("full") == [UNIT]
    assert AtRetention().plan(facts(2), UNIT, context(facts(2), {})).read == 20 * (2 + 8 * 2)
