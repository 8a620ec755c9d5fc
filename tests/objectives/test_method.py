"""Methods by name: what each reads, and what it needs from the reference model."""

from __future__ import annotations

import math

import pytest
import torch

from efface.errors import EffaceError
from efface.objectives.config import METHODS, KLConfig, MEConfig, ObjectiveConfig
from efface.objectives.method import fine_tuning, objective
from efface.objectives.terms import DistributionTerm

FORGET_VIEWS = {"ga": ["forget"], "npo": ["forget"], "dpo": ["forget_idk", "forget"], "me": ["forget"]}
FORGET_VIEWS["idk"] = ["forget_idk"]
RETAIN_VIEWS = {"gd": ["retain"], "kl": ["retain"], "ap": ["retain_idk", "retain"]}


def test_every_forget_objective_can_be_combined_with_every_retain_objective():
    assert len(METHODS) == 21
    pairs = {f"{forget}+{retain}" for forget in FORGET_VIEWS for retain in RETAIN_VIEWS}
    assert set(METHODS) == pairs | {"llmu"} | FORGET_VIEWS.keys()


@pytest.mark.parametrize("forget", FORGET_VIEWS)
def test_a_method_without_a_plus_has_no_retain_loss(forget):
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


def test_fine_tuning_only_reads_answers():
    bound = fine_tuning()
    assert (bound.views, bound.forget) == (("retain",), ())
    assert not bound.needs_distribution


def test_settings_reach_the_terms():
    config = ObjectiveConfig(
        forget_coeff=0.3,
        retain_coeff=0.7,
        me=MEConfig(average="padded", padded_length=300),
        kl=KLConfig(positions="all"),
    )
    bound = objective("me+kl", config)
    (me,), (kl,) = bound.forget, bound.retain
    assert (bound.forget_coeff, bound.retain_coeff) == (0.3, 0.7)
    assert isinstance(me, DistributionTerm)
    assert isinstance(kl, DistributionTerm)
    assert (me.average, me.positions, me.padded_length, me.reference) == ("padded", "all", 300, False)
    assert (kl.average, kl.positions, kl.reference) == ("tokens", "all", True)
    assert bound.row_lengths == {"forget": 300}


def test_padded_rows_of_me_and_kl():
    config = ObjectiveConfig(me=MEConfig(average="padded"), kl=KLConfig(average="padded", padded_length=300))
    bound = objective("me+kl", config)
    (me,), (kl,) = bound.forget, bound.retain
    assert isinstance(me, DistributionTerm)
    assert isinstance(kl, DistributionTerm)
    assert bound.row_lengths == {"forget": 500, "retain": 300}
    assert (me.row_positions, kl.row_positions) == (499, 300)  # KL also counts the last position, as published
    assert bound.distribution_reference_views == (("retain", "row"),)
    sure = torch.tensor([[60.0, 0.0, 0.0]], dtype=torch.float64)
    plain = objective("me", ObjectiveConfig()).forget[0]
    expected = -(math.log(1 + 1e-12) + 2 * math.log(math.exp(-60) + 1e-12)) / 3 - math.log(3)
    assert me.loss(sure).item() == pytest.approx(expected, rel=1e-9)
    assert plain.loss(sure).item() == pytest.approx(40 - math.log(3), rel=1e-9)


def test_names_are_normalized():
    assert objective("IDK + AP", ObjectiveConfig()).name == "idk+ap"


def test_an_unknown_method_is_rejected():
    with pytest.raises(EffaceError, match="unknown method 'mee"):
        objective("mee+gd", ObjectiveConfig())
