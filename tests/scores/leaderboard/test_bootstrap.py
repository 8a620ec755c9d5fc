"""Resampled scores compared with scores of resampled records, scipy and a simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from efface.artifacts import METRICS, Scores
from efface.scores import DEFINITIONS, score_records
from efface.scores.definitions import CLOSER_LOOK, Definition
from efface.scores.leaderboard.bootstrap import (
    AggregateMetrics,
    Draws,
    bootstrap,
    draw_counts,
    interval,
    weighted_scores,
)
from efface.scores.leaderboard.question_scores import SetValues
from efface.scores.leaderboard.ranking import choose_metrics
from support.answered import NAMES, Sets, answered, values_of


def aggregate_metrics(models: list[dict[str, SetValues]], definition: Definition = CLOSER_LOOK) -> AggregateMetrics:
    return choose_metrics([{name: each.scores() for name, each in model.items()} for model in models], definition)


def resampled(sets: Sets, counts: dict[str, np.ndarray]) -> Sets:
    """The records of one resample, each as often as it was drawn."""
    return {
        name: [
            record.model_copy(update={"id": f"{record.id}/{copy}"})
            for record, count in zip(sets[name], counts[name][0], strict=True)
            for copy in range(int(count))
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
def test_a_resample_has_the_scores_of_its_records(definition: Definition, identity: bool) -> None:
    """Also the one with all questions once, and where a definition ignores a set."""
    names = ("neighbor", *NAMES)
    records = [answered(seed, names=names) for seed in (1, 2)]
    random = np.random.default_rng(5)
    counts = {name: np.ones((1, 7)) if identity else draw_counts(7, 1, random) for name in names}
    models = [values_of(sets, definition) for sets in records]
    metrics = aggregate_metrics(models, definition)
    assert metrics.partial is None
    draws = weighted_scores(counts, models, definition, metrics)
    for index, sets in enumerate(records):
        assert_same(draws, index, score_records(resampled(sets, counts), definition.name))


def test_means_are_those_of_score_exactly() -> None:
    sets = answered(3, n=23)
    for definition in DEFINITIONS.values():
        plain = score_records(sets, definition.name).sets
        assert {name: each.scores() for name, each in values_of(sets, definition).items()} == plain


def test_partial_aggregates_over_the_available_metrics() -> None:
    sets = answered(4, entailment_label=None, judge=None)
    models = [values_of(sets)]
    metrics = aggregate_metrics(models)
    assert metrics.partial == METRICS[:5]
    draws = weighted_scores({name: np.ones((1, 7)) for name in NAMES}, models, CLOSER_LOOK, metrics)
    assert_same(draws, 0, score_records(sets, "closer-look"), partial=True)
    assert np.isnan(draws.sets["retain"][0, 0, METRICS.index("entailment")])


def test_a_zero_makes_utility_zero() -> None:
    sets = answered(4, cosine_answer=-0.5)
    draws = bootstrap([values_of(sets)], CLOSER_LOOK, aggregate_metrics([values_of(sets)]), draws=20, seed=0)
    assert draws.model_utility is not None
    assert draws.harmonic_mean is not None
    assert not draws.model_utility.any()
    assert not draws.harmonic_mean.any()


def test_questions_are_drawn_with_replacement() -> None:
    random = np.random.default_rng(0)
    counts = draw_counts(40, 300, random)
    assert (counts.sum(axis=1) == 40).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(40), abs=0.25)
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 40) ** 40, abs=0.02)  # never drawn
    assert (draw_counts(40, 300, random) != counts).any()


def test_models_share_their_resamples() -> None:
    """Equal models do not differ in any resample; the same seed gives the same resamples."""
    models = [values_of(answered(6)), values_of(answered(6))]
    draws = bootstrap(models, CLOSER_LOOK, aggregate_metrics(models), draws=50, seed=3)
    again = bootstrap(models, CLOSER_LOOK, aggregate_metrics(models), draws=50, seed=3)
    both = draws.harmonic_mean
    assert both is not None
    assert both[:, 0].tolist() == both[:, 1].tolist()
    assert both[:, 0].std() > 0
    assert again.harmonic_mean is not None
    assert again.harmonic_mean.tolist() == both.tolist()


def test_the_interval_of_a_mean_is_that_of_scipy() -> None:
    numbers = np.random.default_rng(7).beta(2, 5, size=60)
    means = draw_counts(60, 20_000, np.random.default_rng(8)) @ numbers / 60
    ours = interval(numbers.mean(), means)
    expected = stats.bootstrap(
        (numbers,), np.mean, n_resamples=20_000, method="percentile", vectorized=True, random_state=9
    ).confidence_interval
    width = expected.high - expected.low
    assert (ours.low, ours.high) == (
        pytest.approx(expected.low, abs=0.03 * width),
        pytest.approx(expected.high, abs=0.03 * width),
    )


def test_95_percent_intervals_contain_the_mean_in_95_percent_of_samples() -> None:
    """400 samples of 80 questions with a known mean: 380 expected, standard deviation 4.4."""
    random = np.random.default_rng(10)
    contained = 0
    for _ in range(400):
        sample = random.beta(2, 5, size=80)
        found = interval(sample.mean(), draw_counts(80, 400, random) @ sample / 80)
        contained += found.low <= 2 / 7 <= found.high
    assert 365 <= contained <= 392
