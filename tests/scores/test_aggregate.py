from __future__ import annotations

import pytest

from efface.artifacts import METRICS, Partial, Scores, SetScores
from efface.scores import aggregate
from efface.scores.definitions import CLOSER_LOOK, TOFU

Pair = tuple[float | None, float | None]


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
    assert aggregate.complete_model_utility(KNOWN, CLOSER_LOOK) == pytest.approx(0.7502, abs=5e-5)
    assert aggregate.forget_efficacy([KNOWN["forget"]], CLOSER_LOOK.efficacy_metrics) == pytest.approx(0.1232, abs=5e-5)
    assert aggregate.model_utility_retain(KNOWN, METRICS) == pytest.approx(0.8312, abs=5e-5)
    assert aggregate.explain_aggregates(KNOWN, CLOSER_LOOK) == {}


def test_partial_aggregates_are_complete_if_nothing_is_missing() -> None:
    partial = aggregate.partial_aggregates(KNOWN, CLOSER_LOOK)
    assert partial.metrics == list(METRICS)
    assert partial.model_utility == aggregate.complete_model_utility(KNOWN, CLOSER_LOOK)
    assert partial.forget_efficacy == aggregate.forget_efficacy([KNOWN["forget"]], CLOSER_LOOK.efficacy_metrics)


def test_a_zero_makes_utility_zero_and_not_null() -> None:
    sets = {"retain": row(0.0, 0.5, 0.5, 0.5, 0.5, 0.5)}
    assert aggregate.complete_model_utility(sets, CLOSER_LOOK) == 0.0


def test_neighbors_are_the_retain_set_of_data_without_one() -> None:
    sets = {"neighbor": row(*[0.5] * 6), "forget": row(*[0.25] * 6)}
    assert aggregate.complete_model_utility(sets, CLOSER_LOOK) == pytest.approx(0.5)
    assert aggregate.forget_efficacy([sets["forget"]], CLOSER_LOOK.efficacy_metrics) == pytest.approx(0.75)
    assert aggregate.explain_aggregates(sets, CLOSER_LOOK) == {}
    assert aggregate.model_utility_retain(sets, METRICS) == pytest.approx(0.5)
    assert aggregate.partial_aggregates(sets, CLOSER_LOOK).model_utility_retain == pytest.approx(0.5)
    both = {"neighbor": row(*[0.5] * 6), "retain": row(*[0.25] * 6)}
    assert aggregate.model_utility_retain(both, METRICS) == pytest.approx(0.25)
    missing = aggregate.explain_aggregates({"neighbor": row(None, *[0.5] * 5)}, CLOSER_LOOK)
    assert missing["model_utility_retain"] == "it needs rouge on neighbor"


def test_an_aggregate_is_null_if_a_metric_is_missing() -> None:
    sets = {"retain": row(*[0.5] * 6), "forget": row(0.2, 0.4, None, 0.1, 0.6, None)}
    assert aggregate.forget_efficacy([sets["forget"]], CLOSER_LOOK.efficacy_metrics) is None
    assert aggregate.complete_model_utility(sets, CLOSER_LOOK) == pytest.approx(0.5)
    assert aggregate.explain_aggregates(sets, CLOSER_LOOK) == {
        "forget_efficacy": "it needs truth_ratio on forget; entailment on forget"
    }
    partial = aggregate.partial_aggregates(sets, CLOSER_LOOK)
    assert partial.metrics == ["rouge", "probability", "token_entropy", "cosine_similarity"]
    assert partial.model_utility == partial.model_utility_retain == pytest.approx(0.5)
    assert partial.forget_efficacy == pytest.approx(1 - (0.2 + 0.4 + 0.6) / 3)


def test_partial_aggregates_omit_a_metric_that_one_set_does_not_have() -> None:
    sets = {"retain": row(0.5, 0.25, *[None] * 4), "world_facts": row(0.5, None, *[None] * 4)}
    partial = aggregate.partial_aggregates(sets, CLOSER_LOOK)
    assert partial.metrics == ["rouge"]
    assert partial.model_utility_retain == pytest.approx(0.5)
    assert partial.forget_efficacy is None


def test_nothing_shared() -> None:
    partial = aggregate.partial_aggregates({"retain": row(*[None] * 6), "forget": row(*[0.5] * 6)}, CLOSER_LOOK)
    assert partial == Partial(model_utility=None, model_utility_retain=None, forget_efficacy=None, metrics=[])


def test_without_forget_set_or_retain_sets() -> None:
    assert aggregate.explain_aggregates({"retain": row(*[0.5] * 6)}, CLOSER_LOOK) == {
        "forget_efficacy": "there is no forget set"
    }
    only_forget = {"forget": row(*[0.5] * 6)}
    assert aggregate.complete_model_utility(only_forget, CLOSER_LOOK) is None
    assert aggregate.explain_aggregates(only_forget, CLOSER_LOOK) == {
        "model_utility": "there is none of the retain sets retain, neighbor, real_authors, world_facts, known_facts",
        "model_utility_retain": "there is no retain set",
    }


def test_tofu_has_nine_numbers_and_no_efficacy() -> None:
    nine = [number for name in TOFU.utility_sets or () for number in list(KNOWN[name].model_dump().values())[1:4]]
    assert len(nine) == 9
    utility = aggregate.complete_model_utility(KNOWN, TOFU)
    assert utility == pytest.approx(9 / sum(1 / number for number in nine))
    assert aggregate.explain_aggregates(KNOWN, TOFU) == {"forget_efficacy": "tofu does not define a forget efficacy"}
    partial = aggregate.partial_aggregates(KNOWN, TOFU)
    assert partial.metrics == ["rouge", "probability", "truth_ratio"]
    assert partial.model_utility == utility
    assert partial.forget_efficacy is None


def test_tofu_utility_needs_its_three_sets() -> None:
    sets = {name: KNOWN[name] for name in ("retain", "forget", "world_facts")}
    assert aggregate.complete_model_utility(sets, TOFU) is None
    assert aggregate.explain_aggregates(sets, TOFU)["model_utility"] == (
        "tofu includes retain, real_authors, world_facts, and there is no real_authors"
    )
    assert aggregate.partial_aggregates(sets, TOFU).model_utility is not None


def scored(complete: Pair, partial: Pair = (None, None)) -> Scores:
    return Scores(
        model_utility=complete[0],
        model_utility_retain=0.9,  # must not matter
        forget_efficacy=complete[1],
        partial=Partial(
            model_utility=partial[0], model_utility_retain=0.9, forget_efficacy=partial[1], metrics=["rouge"]
        ),
        missing={},
        embedder=None,
        judge=None,
        sets={},
    )


@pytest.mark.parametrize(
    ("pairs", "index"),
    [
        ([(0.9, 0.1), (0.5, 0.5), (0.2, 0.9)], 1),  # 0.18, 0.5, 0.327...: by the arithmetic mean, the last
        ([(0.6, 0.4), (0.5, 0.5), (0.7, 0.4)], 2),  # 0.48, 0.5, 0.509...
        ([(0.4, 0.6), (0.6, 0.4), (0.3, 0.3)], 0),  # of equals, the first
        ([(0.1, 0.2), (0.3, 0.3), (0.3, 0.3), (0.1, 0.1)], 1),
        ([(0.0, 1.0), (0.1, 0.1)], 1),  # forgetting everything is worth nothing
        ([(0.0, 0.9), (0.0, 1.0)], 0),
        ([(0.3, 0.4)], 0),
    ],
)
def test_the_best_has_the_highest_harmonic_mean(pairs: list[Pair], index: int) -> None:
    assert aggregate.best_index([scored(pair) for pair in pairs]) == index
    assert aggregate.best_index([scored((None, None), pair) for pair in pairs]) == index


@pytest.mark.parametrize("gap", [(None, 0.9), (0.9, None)])
def test_partial_aggregates_are_compared_if_a_complete_one_is_missing(gap: Pair) -> None:
    """Complete and partial aggregates are means over different metrics, and not comparable."""
    first, second = scored((0.9, 0.9), (0.1, 0.1)), scored((0.5, 0.5), (0.2, 0.2))
    assert aggregate.best_index([first, second]) == 0
    assert aggregate.best_index([first, second, scored(gap, (0.15, 0.15))]) == 1


@pytest.mark.parametrize("gap", [(None, 0.9), (0.9, None), (None, None)])
def test_none_is_best_if_a_partial_aggregate_is_missing_too(gap: Pair) -> None:
    assert aggregate.best_index([scored((0.9, 0.9), (0.5, 0.5)), scored((None, 0.9), gap)]) is None


def test_none_is_best_of_no_scores() -> None:
    assert aggregate.best_index([]) is None
