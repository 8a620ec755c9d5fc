"""Method names and the ranges of settings."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from efface.errors import EffaceError
from efface.objectives.config import (
    KLConfig,
    MEConfig,
    ObjectiveConfig,
    check_method,
    methods,
    padded_length,
    plain_method,
)


def test_methods_are_all_combinations():
    assert methods(["a", "b"], ["c"]) == ("a+c", "b+c", "llmu", "a", "b")


@pytest.mark.parametrize("name", ["IDK+AP", "idk + ap", "Idk+Ap"])
def test_case_and_spaces_do_not_matter(name):
    assert plain_method(name) == check_method(name) == "idk+ap"


def test_custom_objectives_are_known():
    assert check_method("MINE+twice", forget=["mine"], retain=["twice"]) == "mine+twice"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mee+gd", "did you mean 'me+gd'?"),
        ("idk+aq", "did you mean 'idk+ap'?"),
        ("lmu", "did you mean 'llmu'?"),
        ("npo_gd", "did you mean 'npo+gd'?"),
        ("grad_ascent", "did you mean 'ga'?"),
        ("Gradient-Difference", "did you mean 'ga+gd'?"),
        ("KL_min", "did you mean 'ga+kl'?"),
        *((name, "allowed: ") for name in ("gd+ga", "ga+gd+kl", "gd", "+", "", "ga+", "gd+")),
    ],
)
def test_an_unknown_method_is_named_with_a_suggestion(name, hint):
    with pytest.raises(EffaceError) as error:
        check_method(name)
    assert f"unknown method {name!r}" in str(error.value)
    assert hint in str(error.value)


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (ObjectiveConfig, {"beta": 0}),
        (ObjectiveConfig, {"beta": -0.1}),
        (ObjectiveConfig, {"forget_coeff": -1}),
        (ObjectiveConfig, {"retain_coef": 1.0}),
        (MEConfig, {"direction": "uniform"}),
        (MEConfig, {"average": "token"}),
        (MEConfig, {"padded_length": 1}),
        (KLConfig, {"positions": "prompt"}),
    ],
)
def test_a_setting_out_of_range_is_named(model, values):
    with pytest.raises(ValidationError, match=next(iter(values))):
        model(**values)


def test_padded_averages_read_every_position():
    assert (KLConfig(average="padded").positions, KLConfig().positions) == ("all", "answer")
    for config in (MEConfig, KLConfig):
        with pytest.raises(ValidationError, match=r"average=padded .*positions=answer .*leave positions out"):
            config(average="padded", positions="answer")


@pytest.mark.parametrize(
    ("method", "length"),
    [("me+gd", 500), ("me", 500), ("me+kl", 600), ("ga+kl", 600), ("llmu", 600), ("ga+gd", None), ("idk+ap", None)],
)
def test_only_the_losses_of_the_method_are_padded(method, length):
    config = ObjectiveConfig(me=MEConfig(average="padded"), kl=KLConfig(average="padded", padded_length=600))
    assert padded_length(method, config) == length
    assert padded_length(method, ObjectiveConfig()) is None
