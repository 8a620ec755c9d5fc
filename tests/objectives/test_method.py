"""Methods by name: what each reads, and what it needs from the reference model."""

from __future__ import annotations

import math

import pytest
import torch

from efface.errors import EffaceError
from efface.objectives.config import METHODS, KLConfig, MEConfig, ObjectiveConfig
from efface.objectives.method import fine_tuning, objective
from efface.objectives.terms import DistributionTerm, StateTerm
from efface.packing.layers import LayerPositions

FORGET_VIEWS = {
    **{name: ["forget"] for name in ("ga", "npo", "me", "simnpo", "wga", "satimp", "ceu", "undial", "pdu", "rmu")},
    "dpo": ["forget_idk", "forget"],
    "idk": ["forget_idk"],
    "jensun": ["forget", "forget_idk"],
    "altpo": ["forget_alternate", "forget"],
}
RETAIN_VIEWS = {
    **{name: ["retain"] for name in ("gd", "kl", "jsd", "embed")},
    "ap": ["retain_idk", "retain"],
}


def test_every_forget_objective_can_be_combined_with_every_retain_objective():
    assert len(METHODS) == 14 * 5 + 1 + 14
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
    needs_sequences = forget in ("npo", "dpo", "altpo")
    assert list(bound.sequence_reference_views) == (FORGET_VIEWS[forget] if needs_sequences else [])
    assert bound.needs_distribution == (retain in ("kl", "jsd", "embed") or forget == "undial")
    assert (bound.last_layer is not None) == (forget == "rmu" and retain == "embed")
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


def test_settings_of_rmu_and_embed_reach_the_terms():
    config = ObjectiveConfig(
        rmu={"layer": 3, "positions": "all", "average": "sequences"}, embed={"average": "broadcast"}
    )
    bound = objective("rmu+embed", config)
    (rmu,), (embed,) = bound.forget, bound.retain
    assert isinstance(rmu, StateTerm)
    assert isinstance(embed, StateTerm)
    assert (rmu.reads, rmu.average, rmu.reference) == (LayerPositions(3, "all"), "sequences", False)
    assert (embed.reads, embed.average, embed.reference) == (LayerPositions(3, "answer"), "broadcast", True)
    assert (bound.layers, bound.last_layer) == ((3,), 3)
    other = objective("rmu+embed", ObjectiveConfig(embed={"layer": 2}))
    assert (other.layers, other.last_layer) == ((7, 2), 7)
    assert objective("rmu+gd", config).last_layer is None


def test_the_control_vector_is_drawn_from_the_seed_or_given():
    states = torch.zeros(1, 16)

    def loss(seed=0, **rmu):
        (term,) = objective("rmu", ObjectiveConfig(rmu=rmu), seed=seed).forget
        return term.loss(states).item()

    assert loss(steering_coeff=3.0) == pytest.approx(9 / 16)  # the mean square of a vector of length 3
    assert loss(control_vector=[2.0, *[0.0] * 15]) == pytest.approx(4 / 16)
    ones = torch.ones(1, 16)
    draws = [objective("rmu", ObjectiveConfig(), seed=seed).forget[0].loss(ones).item() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    with pytest.raises(EffaceError, match=r"rmu\.control_vector has 2 numbers, and the model 16"):
        loss(control_vector=[1.0, 2.0])
