from __future__ import annotations

import pytest

from efface.artifacts import METRICS, Partial, SetScores
from efface.scores import aggregate
from efface.scores.definitions import CLOSER_LOOK, TOFU
from efface.scores.means import harmonic_mean


def row(*numbers: float | None) -> SetScores:
    return SetScores(n=1, **dict(zip(METRICS, numbers, strict=True)))


KNOWN = {
    "real_authors": row(0.9068, 0.4665, 0.6104, 0.9845, 0.9610, 0.8800),
    "world_facts": row(0.9003, 0.4220, 0.5506, 0.9585, 0.9576, 0.7607),
    "retain": row(0.9793, 0.9890, 0.4736, 0.9692, 0.9912, 0.9667),
    "forget": row(0.9713, 0.9900, 0.4815, 0.9656, 0.9914, 0.9500),
}
"""A row of a public results file, rounded to four digits."""


def test_the_known_row() -> None:
    assert aggregate.whole_model_utility(KNOWN, CLOSER_LOOK) == pytest.approx(0.7502, abs=5e-5)
    assert aggregate.forget_efficacy(KNOWN["forget"], CLOSER_LOOK.efficacy_metrics) == pytest.approx(0.1232, abs=5e-5)
    assert aggregate.model_utility_retain(KNOWN, METRICS) == pytest.approx(0.8312, abs=5e-5)
    assert aggregate.explain_aggregates(KNOWN, CLOSER_LOOK) == {}


def test_partial_is_the_whole_where_nothing_is_missing() -> None:
    partial = aggregate.partial(KNOWN, CLOSER_LOOK)
    assert partial.metrics == list(METRICS)
    assert partial.model_utility == aggregate.whole_model_utility(KNOWN, CLOSER_LOOK)
    assert partial.forget_efficacy == aggregate.forget_efficacy(KNOWN["forget"], CLOSER_LOOK.efficacy_metrics)


def test_harmonic_mean() -> None:
    assert harmonic_mean([1.0, 0.5]) == pytest.approx(2 / 3)
    assert harmonic_mean([1.0, 0.0]) == 0.0
    assert harmonic_mean([5e-324, 1e-308]) >= 0  # whose inverses overflow


def test_a_zero_makes_utility_zero_and_not_null() -> None:
    sets = {"retain": row(0.0, 0.5, 0.5, 0.5, 0.5, 0.5)}
    assert aggregate.whole_model_utility(sets, CLOSER_LOOK) == 0.0


def test_neighbors_are_kept_but_are_no_retain_set() -> None:
    sets = {"neighbor": row(*[0.5] * 6), "forget": row(*[0.25] * 6)}
    assert aggregate.whole_model_utility(sets, CLOSER_LOOK) == pytest.approx(0.5)
    assert aggregate.forget_efficacy(sets["forget"], CLOSER_LOOK.efficacy_metrics) == pytest.approx(0.75)
    assert aggregate.explain_aggregates(sets, CLOSER_LOOK) == {"model_utility_retain": "there is no retain set"}


def test_one_missing_number_makes_null_and_says_which() -> None:
    sets = {"retain": row(*[0.5] * 6), "forget": row(0.2, 0.4, None, 0.1, 0.6, None)}
    assert aggregate.forget_efficacy(sets["forget"], CLOSER_LOOK.efficacy_metrics) is None
    assert aggregate.whole_model_utility(sets, CLOSER_LOOK) == pytest.approx(0.5)
    assert aggregate.explain_aggregates(sets, CLOSER_LOOK) == {
        "forget_efficacy": "it needs truth_ratio on forget; entailment on forget"
    }
    partial = aggregate.partial(sets, CLOSER_LOOK)
    assert partial.metrics == ["rouge", "probability", "token_entropy", "cosine_similarity"]
    assert partial.model_utility == partial.model_utility_retain == pytest.approx(0.5)
    assert partial.forget_efficacy == pytest.approx(1 - (0.2 + 0.4 + 0.6) / 3)


def test_partial_drops_a_metric_from_all_sets_when_one_lacks_it() -> None:
    sets = {"retain": row(0.5, 0.25, *[None] * 4), "world_facts": row(0.5, None, *[None] * 4)}
    partial = aggregate.partial(sets, CLOSER_LOOK)
    assert partial.metrics == ["rouge"]
    assert partial.model_utility_retain == pytest.approx(0.5)
    assert partial.forget_efficacy is None


def test_nothing_shared() -> None:
    partial = aggregate.partial({"retain": row(*[None] * 6), "forget": row(*[0.5] * 6)}, CLOSER_LOOK)
    assert partial == Partial(model_utility=None, model_utility_retain=None, forget_efficacy=None, metrics=[])


def test_no_forget_set_or_nothing_to_keep() -> None:
    assert aggregate.explain_aggregates({"retain": row(*[0.5] * 6)}, CLOSER_LOOK) == {
        "forget_efficacy": "there is no forget set"
    }
    only_forget = {"forget": row(*[0.5] * 6)}
    assert aggregate.whole_model_utility(only_forget, CLOSER_LOOK) is None
    assert aggregate.explain_aggregates(only_forget, CLOSER_LOOK) == {
        "model_utility": "there is no set to keep (retain, neighbor, real_authors, world_facts)",
        "model_utility_retain": "there is no retain set",
    }


def test_tofu_has_nine_numbers_and_no_efficacy() -> None:
    nine = [number for name in TOFU.utility_sets or () for number in list(KNOWN[name].model_dump().values())[1:4]]
    assert len(nine) == 9
    utility = aggregate.whole_model_utility(KNOWN, TOFU)
    assert utility == pytest.approx(9 / sum(1 / number for number in nine))
    assert aggregate.explain_aggregates(KNOWN, TOFU) == {"forget_efficacy": "tofu does not define a forget efficacy"}
    partial = aggregate.partial(KNOWN, TOFU)
    assert partial.metrics == ["rouge", "probability", "truth_ratio"]
    assert partial.model_utility == utility
    assert partial.forget_efficacy is None


def test_tofu_utility_needs_its_three_sets() -> None:
    sets = {name: KNOWN[name] for name in ("retain", "forget", "world_facts")}
    assert aggregate.whole_model_utility(sets, TOFU) is None
    assert aggregate.explain_aggregates(sets, TOFU)["model_utility"] == (
        "tofu counts retain, real_authors, world_facts, and there is no real_authors"
    )
    assert aggregate.partial(sets, TOFU).model_utility is not None
