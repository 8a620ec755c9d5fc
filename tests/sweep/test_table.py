"""The table of a sweep, against numbers that were computed by hand."""

from __future__ import annotations

import json

import pytest

from efface.artifacts import Metric
from efface.sweep.table import SweepModel, SweepTable, combination_name, display_value, sweep_table
from support.sweeps import scored, scores

HOSTILE = "\x1b[2J[red]gone[/red]"


def test_mean_and_sample_standard_deviation_over_seeds() -> None:
    """0.2, 0.4, 0.9: mean 0.5; squares of 0.3, 0.1, 0.4 sum to 0.26, over 2 is 0.13, whose root is 0.3606."""
    models = [scored(value, method="me+gd", seed=seed) for seed, value in enumerate([0.2, 0.4, 0.9])]
    (group,) = sweep_table([*models, scored(0.7, method="ga+gd", seed=0)], []).groups
    several, one = group.rows
    assert several.settings == {"method": "me+gd"}
    assert (several.n, several.seeds, one.n, one.seeds) == (3, [0, 1, 2], 1, [0])
    for aggregate in ("model_utility", "model_utility_retain", "forget_efficacy"):
        spread = getattr(several, aggregate)
        assert spread.mean == pytest.approx(0.5)
        assert spread.spread == pytest.approx(0.360555, abs=1e-6)
        assert (getattr(one, aggregate).mean, getattr(one, aggregate).spread) == (0.7, None)


def test_without_a_seed_in_the_grid() -> None:
    (group,) = sweep_table([scored(0.2, method="ga")], []).groups
    assert (group.rows[0].n, group.rows[0].seeds, group.where) == (1, [], {})


def test_groups_are_named_by_the_settings_that_distinguish_them() -> None:
    models = [
        scored(group=preset, preset=preset, method=method, seed=0, definition="paper")
        for preset in ("second", "first")
        for method in ("me", "ga")
    ]
    baseline = SweepModel("first", "paper", {}, scores(0.1), baseline="before")
    found = sweep_table([baseline, *models], [])
    assert [group.where for group in found.groups] == [{"preset": "second"}, {"preset": "first"}]
    assert [row.settings for row in found.groups[0].rows] == [
        {"method": "me", "definition": "paper"}, {"method": "ga", "definition": "paper"},
    ]  # fmt: skip
    assert [row.baseline for row in found.groups[1].rows] == ["before", None, None]


def test_a_mean_needs_all_of_its_numbers() -> None:
    (group,) = sweep_table([scored(0.2, method="ga", seed=0), scored(None, method="ga", seed=1)], []).groups
    assert group.rows[0].forget_efficacy is None
    assert group.rows[0].n == 2


def test_partial_aggregates() -> None:
    metrics: tuple[Metric, ...] = ("rouge", "truth_ratio")

    def partial(value: float, seed: int) -> SweepModel:
        return SweepModel("g", "paper", {"method": "ga", "seed": seed}, scores(None, partial=value, metrics=metrics))

    found = sweep_table([partial(0.2, 0), partial(0.4, 1)], [])
    row = found.groups[0].rows[0]
    assert row.partial is not None
    assert row.partial.forget_efficacy is not None
    assert row.partial.forget_efficacy.mean == pytest.approx(0.3)
    assert row.partial.metrics == list(metrics)


def test_seeds_with_other_metrics_have_no_partial_aggregates() -> None:
    few = SweepModel("g", "paper", {"method": "ga", "seed": 1}, scores(0.5, metrics=("rouge", "entailment")))
    (group,) = sweep_table([scored(method="ga", seed=0), few], []).groups
    assert group.rows[0].partial is None


def test_downstream_averages() -> None:
    def with_downstream(seed: int, downstream: float | None) -> SweepModel:
        values = {"method": "ga", "seed": seed}
        return SweepModel("g", "paper", values, scores(0.5), downstream=downstream)

    baseline = SweepModel("g", "paper", {}, scores(0.1), baseline="random")
    found = sweep_table([baseline, with_downstream(0, 0.25), with_downstream(1, 0.35)], [])
    without, row = found.groups[0].rows
    assert without.downstream is None
    assert row.downstream is not None
    assert (row.downstream.mean, row.downstream.spread) == (pytest.approx(0.3), pytest.approx(0.070711, abs=1e-6))
    (group,) = sweep_table([with_downstream(0, 0.25), with_downstream(1, None)], []).groups
    assert group.rows[0].downstream is None


def test_queues_have_the_number_of_requests() -> None:
    queue = SweepModel("g", "paper", {"method": "ga"}, scores(0.5), requests=10)
    assert [group.requests for group in sweep_table([queue], []).groups] == [10]
    assert [group.requests for group in sweep_table([scored(method="ga")], []).groups] == [None]


def test_failures_are_counted_and_listed() -> None:
    failed = scored(method="ga", seed=1, error=HOSTILE)
    lost = SweepModel("g", "paper", {}, None, "too large", baseline="random")
    found = sweep_table([scored(0.2, method="ga", seed=0), failed, lost], ["of two devices"])
    assert found.failures == ["random: too large", f"method=ga seed=1: {HOSTILE}"]
    rows = {row.baseline: row for row in found.groups[0].rows}
    assert (rows[None].n, rows[None].seeds, rows["random"].n) == (1, [0], 0)


def test_it_is_json() -> None:
    models = [
        scored(0.123456, **{"method": "me+gd", "train.lr": lr, "train.lora": {"r": 4}, "seed": seed})
        for lr in (1e-5, "5e-5")
        for seed in (0, 1)
    ]
    found = sweep_table(models, [])
    assert SweepTable.model_validate_json(json.dumps(found.model_dump(), allow_nan=False)) == found


def test_values_and_combinations_are_named_as_on_the_command_line() -> None:
    assert [display_value(value) for value in ("a", 1, None, [0, "b"])] == ["a", "1", "null", '[0, "b"]']
    assert combination_name({"method": "me+gd", "train.lr": 1e-5, "train.lora": {"r": 4}}) == (
        'method=me+gd train.lr=1e-05 train.lora={"r": 4}'
    )
