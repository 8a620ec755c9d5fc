"""Specs, their combinations, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from efface.config.commands import FinetuneConfig, RunConfig
from efface.config.resolve import resolve_config
from efface.errors import EffaceError
from efface.sweep.spec import baseline_config, combinations, nest_settings, read_spec, target_config
from support.sweeps import Spec


def test_every_combination_the_first_key_slowest(spec: Spec) -> None:
    content = {
        "settings": {"model": "m", "preset": "tofu-forget01"},
        "grid": {"method": ["npo+gd", "me+gd"], "train.lr": ["1e-5", 5e-5], "seed": [0, 1]},
    }
    found = combinations(spec(content), target=None)
    assert [str(combination) for combination in found[:3]] == [
        "method=npo+gd train.lr=1e-5 seed=0",
        "method=npo+gd train.lr=1e-5 seed=1",
        "method=npo+gd train.lr=5e-05 seed=0",
    ]
    assert len(found) == 8
    assert {(each.config.method, each.config.train.lr, each.config.seed) for each in found} == {
        (method, lr, seed) for method in ("npo+gd", "me+gd") for lr in (1e-5, 5e-5) for seed in (0, 1)
    }


def test_combinations_are_resolved_as_runs_are(spec: Spec) -> None:
    content = {
        "settings": {"model": "m", "train": {"epochs": 3}},
        "grid": {"preset": ["tofu-forget01", "tofu-forget05"], "recipe": ["ours", "published"], "method": ["me+gd"]},
    }
    for combination in combinations(spec(content), target=None):
        pairs = [f"{key}={value}" for key, value in combination.values.items()]
        assert combination.config == resolve_config(RunConfig, None, [*pairs, "model=m", "train.epochs=3"])


def test_no_grid_is_one_run(spec: Spec) -> None:
    (combination,) = combinations(spec({"settings": {"model": "m", "preset": "demo", "method": "ga+gd"}}), target=None)
    assert str(combination) == "ga+gd"
    assert combination.config == resolve_config(RunConfig, "demo", ["model=m", "method=ga+gd"])


def test_pairs_override_the_settings(spec: Spec) -> None:
    content = {"settings": {"model": "m", "preset": "demo", "method": "ga+gd", "train": {"epochs": 3, "lr": 1e-3}}}
    (combination,) = combinations(spec(content, "train.epochs=7", "model=2024"), target=None)
    assert (combination.config.train.epochs, combination.config.train.lr, combination.config.model) == (7, 1e-3, "2024")


def test_overrides_of_some_combinations(spec: Spec) -> None:
    content = {
        "settings": {"model": "m", "preset": "demo", "forget_coeff": 0.5},
        "grid": {"method": ["me+gd", "idk+ap"], "seed": [0, 1]},
        "overrides": [
            {"where": {"method": "me+gd"}, "settings": {"forget_coeff": 0.2, "train.lr": 2e-3}},
            {"where": {"method": "me+gd", "seed": 1}, "settings": {"train": {"epochs": 9}}},
        ],
    }
    found = {str(combination): combination.config for combination in combinations(spec(content), target=None)}
    assert [each.forget_coeff for each in found.values()] == [0.2, 0.2, 0.5, 0.5]
    assert [each.train.lr for each in found.values()] == [2e-3, 2e-3, 3e-4, 3e-4]
    assert [each.train.epochs for each in found.values()] == [20, 9, 20, 20]


def test_excluded_combinations(spec: Spec) -> None:
    content = {
        "settings": {"model": "m", "preset": "tofu-continual-forget01"},
        "grid": {"method": ["npo+gd", "me+gd"], "continual.reference": ["previous", "first"], "seed": [0, 1]},
        "exclude": [{"method": "me+gd", "continual.reference": "first"}, {"seed": 1}],
    }
    found = combinations(spec(content), target=None)
    assert [str(combination) for combination in found] == [
        "method=npo+gd continual.reference=previous seed=0",
        "method=npo+gd continual.reference=first seed=0",
        "method=me+gd continual.reference=previous seed=0",
    ]
    queues = [combination.config.continual for combination in found]
    assert [(each.reference, len(each.requests)) for each in queues if each] == [
        ("previous", 10), ("first", 10), ("previous", 10),
    ]  # fmt: skip


def test_a_group_of_settings_may_be_in_the_grid(spec: Spec) -> None:
    content = {
        "settings": {"model": "m", "method": "ga+gd", "data": {"retain_evaluation": 5}},
        "grid": {"data": [{"source": "synthetic-authors"}, {"source": "tofu", "split": "forget05"}]},
    }
    found = [combination.config.data for combination in combinations(spec(content), target=None)]
    assert [(each.source, each.retain_evaluation) for each in found] == [("synthetic-authors", 5), ("tofu", 5)]
    with pytest.raises(EffaceError, match="data is both in the grid and in settings"):  # which would be lost
        spec({**content, "grid": {"data": ["synthetic-authors"]}})


def test_the_target_is_the_default_model(spec: Spec) -> None:
    content = {"settings": {"preset": "demo", "method": "ga+gd"}, "grid": {"seed": [0]}}
    assert combinations(spec(content), target="the/target")[0].config.model == "the/target"
    assert combinations(spec(content, "model=other"), target="the/target")[0].config.model == "other"


def test_target_is_resolved_as_a_fine_tuning(spec: Spec) -> None:
    assert target_config(spec({})) is None
    target = {"preset": "tofu-forget05", "recipe": "published", "model": "m", "train": {"lr": 1e-4}}
    expected = resolve_config(FinetuneConfig, "tofu-forget05", ["recipe=published", "model=m", "train.lr=1e-4"])
    assert target_config(spec({"target": target})) == expected
    assert target_config(spec({"target": target}, "target.model=2024", "target.train.epochs=9", "seed=3")) == (
        resolve_config(
            FinetuneConfig, "tofu-forget05", ["recipe=published", "model=2024", "train.lr=1e-4", "train.epochs=9"]
        )
    )
    assert target_config(spec({}, "target.model=m", "target.data=synthetic-authors")) is not None
    plain = {"model": "m", "data": "synthetic-authors"}
    assert target_config(spec({"target": plain})) == resolve_config(
        FinetuneConfig, None, ["model=m", "data=synthetic-authors"]
    )


def test_evaluation_of_a_run(spec: Spec) -> None:
    pairs = [
        "model=m",
        "method=ga+gd",
        "seed=3",
        "evaluate.every=epoch",
        "evaluate.select_epoch=best",
        "evaluate.limit=4",
    ]
    run = resolve_config(RunConfig, "demo", [*pairs, "definition=paper", "device=cpu"])
    found = baseline_config(run)
    assert (found.model, found.data, found.text, found.definition) == ("m", run.data, run.text, "paper")
    assert (found.seed, found.device) == (0, "cpu")
    assert (found.evaluate.every, found.evaluate.select_epoch, found.evaluate.limit) == (None, "last", 4)


def test_dotted_settings_are_nested() -> None:
    assert nest_settings({"train.lr": 1, "train.lora.r": 2, "seed": 3}) == {
        "train": {"lr": 1, "lora": {"r": 2}},
        "seed": 3,
    }


RUN = {"model": "m", "preset": "demo", "method": "ga+gd"}


def method_grid(**changes: Any) -> dict[str, Any]:
    return {"grid": {"method": ["ga", "me"]}, **changes}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (
            {"gird": {}},
            ["unknown key 'gird'", "did you mean 'grid'?", "allowed: baselines, exclude, grid, "],
        ),
        ({"lines": ["random"]}, ["'lines'", "'baselines'"]),
        ({"per": []}, ["'per'", "'overrides'"]),
        ({"grid": {"seed": 3}}, ["grid: seed: 3 ", "list of values", "such as [0, 1]"]),
        ({"grid": {"seed": []}}, ["grid: seed: [] ", "list of values", "such as [0, 1]"]),
        ({"grid": [1]}, ["grid=[1]", "dictionary"]),
        ({"baselines": ["before"]}, ["baselines.0='before'", "'retrained' or 'random'"]),
        ({"overrides": [{"settings": {"seed": 1}}]}, ["overrides.0.where", "required"]),
        ({"grid": {"train.lrr": [1]}}, ["grid: unknown key 'train.lrr'", "did you mean 'train.lr'?"]),
        (
            {"settings": {**RUN, "train": {"lr": 1}}, "grid": {"train.lr": [1, 2]}},
            ["train.lr", "grid", "settings", "remove"],
        ),
        (
            method_grid(overrides=[{"where": {"methud": "ga"}, "settings": {"seed": 1}}]),
            ["overrides: methud is not in the grid", "did you mean 'method'?", "allowed: method"],
        ),
        (
            method_grid(overrides=[{"where": {"method": "idk"}, "settings": {"seed": 1}}]),
            ["overrides: method=idk is not in the grid", "ga, me"],
        ),
        (
            {
                "grid": {"method": ["ga"], "train.lr": [1]},
                "overrides": [{"where": {"method": "ga"}, "settings": {"train.lr": 2}}],
            },
            ["overrides: train.lr", "grid", "override", "remove"],
        ),
        ({"exclude": [{}]}, ["exclude.0={}", "at least 1 item"]),
        ({"grid": {"seed": [0]}, "exclude": [{"sed": 0}]}, ["exclude: sed is not in the grid", "did you mean 'seed'?"]),
        ({"grid": {"seed": [0, 1]}, "exclude": [{"seed": 2}]}, ["exclude: seed=2 is not in the grid", "0, 1"]),
    ],
)
def test_refused_specs(spec: Spec, tmp_path: Path, content: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(EffaceError) as error:
        spec(content)
    for each in [str(tmp_path / "sweep.yaml"), *named]:
        assert each in str(error.value)


@pytest.mark.parametrize(
    ("pair", "named"),
    [
        ("seed=3", ["seed is both in the grid and in settings", "remove"]),
        ("grid.seed=3", ["unknown key 'grid.seed'", "did you mean 'seed'?"]),
        ("target.method=ga", ["target: unknown key 'method'"]),
    ],
)
def test_refused_pairs(spec: Spec, pair: str, named: list[str]) -> None:
    with pytest.raises(EffaceError) as error:
        spec({"settings": RUN, "grid": {"seed": [0, 1]}}, pair)
    for each in named:
        assert each in str(error.value)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"settings": RUN, "grid": {"train.lr": [1, -1]}}, ["train.lr=-1: train.lr=-1", "greater than 0"]),
        ({"settings": RUN, "grid": {"seed": [0, "x"]}}, ["seed=x: seed='x'", "valid integer"]),
        ({"settings": {**RUN, "train": {"lrr": 1}}}, ["unknown key 'train.lrr'", "did you mean 'train.lr'?"]),
        (
            {"settings": {"model": "m"}, "grid": {"preset": ["tofu"]}},
            ["preset=tofu: unknown preset", "allowed: demo"],
        ),
        ({"settings": RUN, "grid": {"seed": [0]}, "exclude": [{"seed": 0}]}, ["exclude: every combination", "keep"]),
        (
            {
                "settings": RUN,
                "grid": {"seed": [0]},
                "overrides": [{"where": {"seed": 0}, "settings": {"train.lrr": 1}}],
            },
            ["seed=0: unknown key 'train.lrr'"],
        ),
        (
            {
                "settings": {
                    **RUN,
                    "data": {"source": "files", "retain": "model-answers"},
                    "continual": {"requests": ["a.csv"]},
                }
            },
            ["data.retain=model-answers", "retain file"],
        ),
    ],
)
def test_refused_combinations(spec: Spec, content: dict[str, Any], named: list[str]) -> None:
    read = spec(content)
    with pytest.raises(EffaceError) as error:
        combinations(read, target=None)
    for each in named:
        assert each in str(error.value)


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ({"preset": "demo"}, ["target: model is required", "target.model=MODEL"]),
        ({"preset": "dema", "model": "m"}, ["target: unknown preset 'dema'", "did you mean 'demo'?"]),
        ({"recipe": "ours", "model": "m", "data": "synthetic-authors"}, ["target: ", "recipe"]),
        ({"preset": "demo", "model": "m", "method": "ga"}, ["target: unknown key 'method'"]),
    ],
)
def test_refused_targets(spec: Spec, target: dict[str, Any], named: list[str]) -> None:
    read = spec({"target": target})
    with pytest.raises(EffaceError) as error:
        target_config(read)
    for each in named:
        assert each in str(error.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"continual": {"requests": [1]}}, ["baselines: ", "queue", "leave baselines out"]),
        ({"data": {"source": "files", "forget": "a.csv", "retain": "model-answers"}}, ["model-answers", "retain file"]),
    ],
)
def test_refused_baselines(changes: dict[str, Any], named: list[str]) -> None:
    run = RunConfig.model_validate({"model": "m", "method": "ga+gd", "data": "synthetic-authors", **changes})
    with pytest.raises(EffaceError) as error:
        baseline_config(run)
    for each in named:
        assert each in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(EffaceError, match=r"nowhere\.yaml"):
        read_spec(tmp_path / "nowhere.yaml", [])
