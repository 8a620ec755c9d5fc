"""Methods by name: what each reads, what it needs of the reference, what is refused."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from efface.errors import EffaceError
from efface.objectives.config import METHODS, KLConfig, MEConfig, ObjectiveConfig, check_method
from efface.objectives.method import fine_tuning, objective
from efface.objectives.terms import DistributionTerm

FORGET_VIEWS = {"ga": ["forget"], "npo": ["forget"], "dpo": ["forget_idk", "forget"], "me": ["forget"]}
FORGET_VIEWS["idk"] = ["forget_idk"]
RETAIN_VIEWS = {"gd": ["retain"], "kl": ["retain"], "ap": ["retain_idk", "retain"]}


def test_every_forget_objective_goes_with_every_retain_objective():
    assert len(METHODS) == 21
    pairs = {f"{forget}+{retain}" for forget in FORGET_VIEWS for retain in RETAIN_VIEWS}
    assert set(METHODS) == pairs | {"llmu"} | FORGET_VIEWS.keys()


@pytest.mark.parametrize("forget", FORGET_VIEWS)
def test_a_method_without_a_plus_keeps_nothing(forget):
    bound = objective(forget, ObjectiveConfig())
    assert (list(bound.views), bound.retain) == (FORGET_VIEWS[forget], ())


@pytest.mark.parametrize("retain", RETAIN_VIEWS)
@pytest.mark.parametrize("forget", FORGET_VIEWS)
def test_a_method_reads_only_the_views_that_its_terms_need(forget, retain):
    bound = objective(f"{forget}+{retain}", ObjectiveConfig())
    assert list(bound.views) == [*FORGET_VIEWS[forget], *RETAIN_VIEWS[retain]]
    needs_sequences = forget in ("npo", "dpo")
    assert list(bound.sequence_reference_views) == (FORGET_VIEWS[forget] if needs_sequences else [])
    assert bound.needs_distribution == (retain == "kl")
    assert (len(bound.forget), len(bound.retain)) == (1, 1)


def test_llmu():
    bound = objective("llmu", ObjectiveConfig())
    assert bound.views == ("forget", "forget_mismatch", "retain")
    assert (len(bound.forget), len(bound.retain)) == (1, 2)
    assert bound.needs_distribution
    assert bound.sequence_reference_views == ()


def test_fine_tuning_reads_answers_alone():
    bound = fine_tuning()
    assert (bound.views, bound.forget) == (("retain",), ())
    assert not bound.needs_distribution


@pytest.mark.parametrize("name", ["IDK+AP", "idk + ap", "Idk+Ap"])
def test_names_are_read_as_people_write_them(name):
    assert check_method(name) == "idk+ap"
    assert objective(name, ObjectiveConfig()).name == "idk+ap"


@pytest.mark.parametrize(
    ("name", "hint"), [("mee+gd", "me+gd"), ("idk+aq", "idk+ap"), ("lmu", "llmu"), ("npo_gd", "npo+gd")]
)
def test_a_misspelled_method_is_refused_with_the_nearest(name, hint):
    with pytest.raises(EffaceError, match=re.escape(f"unknown method '{name}'")) as refused:
        objective(name, ObjectiveConfig())
    assert f"did you mean '{hint}'?" in str(refused.value)


@pytest.mark.parametrize("name", ["gd+ga", "ga+gd+kl", "gd", "+", "", "ga+", "gd+"])
def test_what_is_no_method_is_refused(name):
    with pytest.raises(EffaceError, match="unknown method"):
        check_method(name)


@pytest.mark.parametrize(
    ("kind", "values"),
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
def test_settings_out_of_range_are_refused(kind, values):
    with pytest.raises(ValidationError, match=next(iter(values))):
        kind(**values)


def test_settings_reach_the_terms():
    config = ObjectiveConfig(
        forget_coeff=0.3,
        retain_coeff=0.7,
        me=MEConfig(average="padded", positions="answer", padded_length=300),
        kl=KLConfig(positions="all"),
    )
    bound = objective("me+kl", config)
    (me,), (kl,) = bound.forget, bound.retain
    assert (bound.forget_coeff, bound.retain_coeff) == (0.3, 0.7)
    assert isinstance(me, DistributionTerm)
    assert isinstance(kl, DistributionTerm)
    assert (me.average, me.positions, me.padded_length, me.reference) == ("padded", "answer", 300, False)
    assert (kl.average, kl.positions, kl.reference) == ("tokens", "all", True)
