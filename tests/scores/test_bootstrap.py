"""Resampled scores against plain ones, scipy and a simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from efface.artifacts import METRICS, Scores
from efface.scores import DEFINITIONS, score_records
from efface.scores.definitions import CLOSER_LOOK, Definition
from efface.scores.leaderboard.bootstrap import CountedMetrics, Draws, bootstrap, interval, resamples, scored
from efface.scores.leaderboard.question_scores import SetValues
from efface.scores.leaderboard.ranking import count
from support.answered import NAMES, Sets, answered, values_of


def counted(models: list[dict[str, SetValues]], definition: Definition = CLOSER_LOOK) -> CountedMetrics:
    return count([{name: each.scores() for name, each in model.items()} for model in models], definition)


def drawn_again(sets: Sets, counts: dict[str, np.ndarray]) -> Sets:
    """The records of one resample, each as often as it was drawn."""
    return {
        name: [
            record.model_copy(update={"id": f"{record.id}/{copy}"})
            for record, often in zip(sets[name], counts[name][0], strict=True)
            for copy in range(int(often))
        ]
        for name in sets
    }


def assert_same(draws: Draws, model: int, plain: Scores, *, partial: bool = False) -> None:
    for name, each in plain.sets.items():
        for metric, mean in zip(METRICS, draws.sets[name][0, model], strict=True):
            expected = getattr(each, metric)
            assert mean == pytest.approx(np.nan if expected is None else expected, abs=1e-12, nan_ok=True)
    aggregates = plain.partial if partial else plain
    for found, expected in (
        (draws.model_utility, aggregates.model_utility),
        (draws.forget_efficacy, aggregates.forget_efficacy),
    ):
        assert (found is None) == (expected is None)
        if found is not None:
            assert found[0, model] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
@pytest.mark.parametrize("identity", [True, False])
def test_a_resample_scores_what_its_records_score(definition: Definition, identity: bool) -> None:
    """Also that of the questions as they are, and where a definition passes over a set."""
    names = ("neighbor", *NAMES)
    made = [answered(seed, names=names) for seed in (1, 2)]
    random = np.random.default_rng(5)
    counts = {name: np.ones((1, 7)) if identity else resamples(7, 1, random) for name in names}
    models = [values_of(sets, definition) for sets in made]
    rules = counted(models, definition)
    assert rules.partial is None
    draws = scored(counts, models, definition, rules)
    for place, sets in enumerate(made):
        assert_same(draws, place, score_records(drawn_again(sets, counts), definition.name))


def test_means_are_those_of_score_to_the_last_digit() -> None:
    sets = answered(3, n=23)
    for definition in DEFINITIONS.values():
        plain = score_records(sets, definition.name).sets
        assert {name: each.scores() for name, each in values_of(sets, definition).items()} == plain


def test_partial_aggregates_over_what_is_there() -> None:
    sets = answered(4, entailment_label=None, judge=None)
    models = [values_of(sets)]
    rules = counted(models)
    assert rules.partial == METRICS[:5]
    draws = scored({name: np.ones((1, 7)) for name in NAMES}, models, CLOSER_LOOK, rules)
    assert_same(draws, 0, score_records(sets, "closer-look"), partial=True)
    assert np.isnan(draws.sets["retain"][0, 0, METRICS.index("entailment")])


def test_a_zero_makes_utility_zero() -> None:
    sets = answered(4, cosine_answer=-0.5)
    draws = bootstrap([values_of(sets)], CLOSER_LOOK, counted([values_of(sets)]), draws=20, seed=0)
    assert draws.model_utility is not None
    assert draws.harmonic_mean is not None
    assert not draws.model_utility.any()
    assert not draws.harmonic_mean.any()


def test_each_set_is_resampled_by_itself_and_anew() -> None:
    random = np.random.default_rng(0)
    counts = resamples(40, 300, random)
    assert (counts.sum(axis=1) == 40).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(40), abs=0.25)
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 40) ** 40, abs=0.02)  # never drawn
    assert (resamples(40, 300, random) != counts).any()


def test_models_share_their_resamples() -> None:
    """One that is the same has no difference in any draw; and the same seed is the same result."""
    models = [values_of(answered(6)), values_of(answered(6))]
    draws = bootstrap(models, CLOSER_LOOK, counted(models), draws=50, seed=3)
    again = bootstrap(models, CLOSER_LOOK, counted(models), draws=50, seed=3)
    both = draws.harmonic_mean
    assert both is not None
    assert both[:, 0].tolist() == both[:, 1].tolist()
    assert both[:, 0].std() > 0
    assert again.harmonic_mean is not None
    assert again.harmonic_mean.tolist() == both.tolist()


def test_the_interval_of_a_mean_is_that_of_scipy() -> None:
    numbers = np.random.default_rng(7).beta(2, 5, size=60)
    means = resamples(60, 20_000, np.random.default_rng(8)) @ numbers / 60
    ours = interval(numbers.mean(), means)
    theirs = stats.bootstrap(
        (numbers,), np.mean, n_resamples=20_000, method="percentile", vectorized=True, random_state=9
    ).confidence_interval
    width = theirs.high - theirs.low
    assert (ours.low, ours.high) == (
        pytest.approx(theirs.low, abs=0.03 * width),
        pytest.approx(theirs.high, abs=0.03 * width),
    )


def test_95_percent_intervals_hold_the_truth_95_times_in_100() -> None:
    """400 samples of 80 questions with a known mean: 380 expected, standard deviation 4.4."""
    random = np.random.default_rng(10)
    held = 0
    for _ in range(400):
        sample = random.beta(2, 5, size=80)
        found = interval(sample.mean(), resamples(80, 400, random) @ sample / 80)
        held += found.low <= 2 / 7 <= found.high
    assert 365 <= held <= 392
