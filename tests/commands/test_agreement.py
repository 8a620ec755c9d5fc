"""To how many digits two results agree."""

from __future__ import annotations

import math

import pytest

from efface.commands.agreement import common_digits, compare, leaves, read_steps
from efface.errors import EffaceError
from support.messages import assert_names


@pytest.mark.parametrize(
    ("one", "other", "digits"),
    [
        (0.1234, 0.1235, 3),
        (1234.0, 1235.0, 3),
        (0.9999, 1.0, 4),
        (1.0, 2.0, 0),
        (0.5, -0.5, 0),
        (0.0, 1e-9, 0),
        (1.0, math.nan, 0),
        ("a", "b", 0),
        (None, 1.0, 0),
    ],
)
def test_common_digits(one, other, digits):
    assert common_digits(one, other) == common_digits(other, one) == digits


def test_differences_are_named_the_worst_first():
    found = compare({"a": 1.0, "b": 1.0, "c": math.nan, "gone": 0}, {"a": 1.001, "b": 2.0, "c": math.nan, "new": None})
    assert found.compared == 5
    assert [(each.name, each.digits) for each in found.different] == [("b", 0), ("gone", 0), ("new", 0), ("a", 3)]


def test_values_of_results_without_times():
    assert dict(leaves({"a": [1, {"b": 2.5}], "seconds": 3, "c": None, "d": (0.5, 1.0)}, "r")) == {
        "r.a.0": 1,
        "r.a.1.b": 2.5,
        "r.c": None,
        "r.d.0": 0.5,
        "r.d.1": 1.0,
    }


def test_losses_of_every_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_steps(path) == {}
    path.write_text('{"step": 1, "loss": 2.5, "seconds": 9}\n{"step": 2, "loss": 2.0}\n')
    assert read_steps(path) == {"metrics.1.step": 1, "metrics.1.loss": 2.5, "metrics.2.step": 2, "metrics.2.loss": 2.0}
    path.write_text('{"step": 1}\nnot JSON\n')
    with pytest.raises(EffaceError) as raised:
        read_steps(path)
    assert_names(str(raised.value), str(path), "line 2")
