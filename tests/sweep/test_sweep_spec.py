"""What a spec may say, what its combinations are, and what is refused in which words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.config.commands import FinetuneConfig, RunConfig
from efface.config.resolve import resolve_config
from efface.errors import EffaceError
from efface.sweep.spec import SweepSpec, combinations, evaluation_of, read_spec, target_config

Spec = Callable[..., SweepSpec]


def test_every_combination_the_first_key_slowest(spec: Spec) -> None:
    content = {
        "settings": {"model": "m", "preset": "tofu-forget01"},
        "grid": {"method": ["npo+gd", "me+gd"], "train.lr": ["1e-5", 5e-5], "seed": [0, 1]},
    }
    found = combinations(spec(content), target=None)
    assert [str(point) for point in found[:3]] == [
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
    for point in combinations(spec(content), target=None):
        pairs = [f"{key}={value}" for key, value in point.values.items()]
        assert point.config == resolve_config(RunConfig, None, [*pairs, "model=m", "train.epochs=3"])


def test_no_grid_is_one_run(spec: Spec) -> None:
    (point,) = combinations(spec({"settings": {"model": "m", "preset": "demo", "method": "ga+gd"}}), target=None)
    assert str(point) == "ga+gd"
    assert point.config == resolve_config(RunConfig, "demo", ["model=m", "method=ga+gd"])


def test_pairs_override_the_settings(spec: Spec) -> None:
    content = {"settings": {"model": "m", "preset": "demo", "method": "ga+gd", "train": {"epochs": 3, "lr": 1e-3}}}
    (point,) = combinations(spec(content, "train.epochs=7", "model=2024"), target=None)
    assert (point.config.train.epochs, point.config.train.lr, point.config.model) == (7, 1e-3, "2024")


def test_additions_for_some_combinations(spec: Spec) -> None:
    content = {
        "settings": {"model": "m", "preset": "demo", "forget_coeff": 0.5},
        "grid": {"method": ["me+gd", "idk+ap"], "seed": [0, 1]},
        "overrides": [
            {"where": {"method": "me+gd"}, "settings": {"forget_coeff": 0.2, "train.lr": 2e-3}},
            {"where": {"method": "me+gd", "seed": 1}, "settings": {"train": {"epochs": 9}}},
        ],
    }
    found = {str(point): point.config for point in combinations(spec(content), target=None)}
    assert [each.forget_coeff for each in found.values()] == [0.2, 0.2, 0.5, 0.5]
    assert [each.train.lr for each in found.values()] == [2e-3, 2e-3, 3e-4, 3e-4]
    assert [each.train.epochs for each in found.values()] == [20, 9, 20, 20]


def test_combinations_that_are_no_runs(spec: Spec) -> None:
    content = {
        "settings": {"model": "m", "preset": "tofu-continual-forget01"},
        "grid": {"method": ["npo+gd", "me+gd"], "continual.reference": ["previous", "first"], "seed": [0, 1]},
        "exclude": [{"method": "me+gd", "continual.reference": "first"}, {"seed": 1}],
    }
    found = combinations(spec(content), target=None)
    assert [str(point) for point in found] == [
        "method=npo+gd continual.reference=previous seed=0",
        "method=npo+gd continual.reference=first seed=0",
        "method=me+gd continual.reference=previous seed=0",
    ]
    queues = [point.config.continual for point in found]
    assert [(each.reference, len(each.requests)) for each in queues if each] == [
        ("previous", 10), ("first", 10), ("previous", 10),
    ]  # fmt: skip


def test_a_group_of_settings_may_be_varied_on_top(spec: Spec) -> None:
    content = {
        "settings": {"model": "m", "method": "ga+gd", "data": {"retain_evaluation": 5}},
        "grid": {"data": [{"source": "synthetic-authors"}, {"source": "tofu", "split": "forget05"}]},
    }
    found = [point.config.data for point in combinations(spec(content), target=None)]
    assert [(each.source, each.retain_evaluation) for each in found] == [("synthetic-authors", 5), ("tofu", 5)]
    with pytest.raises(EffaceError, match="data is in the grid and among the settings"):  # which would be lost
        spec({**content, "grid": {"data": ["synthetic-authors"]}})


def test_the_target_is_the_model_of_those_that_name_none(spec: Spec) -> None:
    content = {"settings": {"preset": "demo", "method": "ga+gd"}, "grid": {"seed": [0]}}
    assert combinations(spec(content), target="made/here")[0].config.model == "made/here"
    assert combinations(spec(content, "model=other"), target="made/here")[0].config.model == "other"


def test_target_is_resolved_as_a_fine_tuning(spec: Spec) -> None:
    assert target_config(spec({})) is None
    own = {"preset": "tofu-forget05", "recipe": "published", "model": "m", "train": {"lr": 1e-4}}
    expected = resolve_config(FinetuneConfig, "tofu-forget05", ["recipe=published", "model=m", "train.lr=1e-4"])
    assert target_config(spec({"target": own})) == expected
    assert target_config(spec({"target": own}, "target.model=2024", "target.train.epochs=9", "seed=3")) == (
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
    found = evaluation_of(run)
    assert (found.model, found.data, found.text, found.definition) == ("m", run.data, run.text, "paper")
    assert (found.seed, found.device) == (0, "cpu")
    assert (found.evaluate.every, found.evaluate.select_epoch, found.evaluate.limit) == (None, "last", 4)


RUN = {"model": "m", "preset": "demo", "method": "ga+gd"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            {"gird": {}},
            "unknown key 'gird'; did you mean 'grid'? allowed: baselines, exclude, grid, keep_models, ",
        ),
        ({"grid": {"seed": 3}}, "grid: seed: 3 is no list of values; give one, such as [0, 1]"),
        ({"grid": {"seed": []}}, "grid: seed: [] is no list of values; give one, such as [0, 1]"),
        ({"grid": [1]}, "grid=[1]: input should be a valid dictionary"),
        ({"baselines": ["before"]}, "baselines.0='before': input should be 'retrained' or 'random'"),
        ({"overrides": [{"settings": {"seed": 1}}]}, "overrides.0.where is required"),
        (
            {"grid": {"train.lrr": [1]}},
            "grid: unknown key 'train.lrr'; did you mean 'train.lr'?",
        ),
        (
            {"settings": {**RUN, "train": {"lr": 1}}, "grid": {"train.lr": [1, 2]}},
            "train.lr is in the grid and among the settings; leave it out of one of them",
        ),
        (
            {"grid": {"method": ["ga"]}, "overrides": [{"where": {"methud": "ga"}, "settings": {"seed": 1}}]},
            "overrides: methud is not in the grid; did you mean 'method'? allowed: method",
        ),
        (
            {"grid": {"method": ["ga", "me"]}, "overrides": [{"where": {"method": "idk"}, "settings": {"seed": 1}}]},
            "overrides: method=idk is in no combination; the grid has ga, me",
        ),
        ({"exclude": [{}]}, "exclude.0={}: dictionary should have at least 1 item"),
        ({"grid": {"seed": [0]}, "exclude": [{"sed": 0}]}, "exclude: sed is not in the grid; did you mean 'seed'?"),
        (
            {"grid": {"seed": [0, 1]}, "exclude": [{"seed": 2}]},
            "exclude: seed=2 is in no combination; the grid has 0, 1",
        ),
        (
            {
                "grid": {"method": ["ga"], "train.lr": [1]},
                "overrides": [{"where": {"method": "ga"}, "settings": {"train.lr": 2}}],
            },
            "overrides: train.lr is in the grid and in the settings of an override; leave it out of one of them",
        ),
    ],
)
def test_specs_that_are_refused(spec: Spec, tmp_path: Path, content: dict[str, Any], sentence: str) -> None:
    with pytest.raises(EffaceError) as error:
        spec(content)
    assert str(error.value).startswith(f"{tmp_path / 'sweep.yaml'}: {sentence}")


def test_pairs_that_are_refused(spec: Spec) -> None:
    content = {"settings": RUN, "grid": {"seed": [0, 1]}}
    with pytest.raises(EffaceError, match="seed is in the grid and among the settings; leave it out of one of them"):
        spec(content, "seed=3")
    with pytest.raises(EffaceError, match=r"^unknown key 'grid\.seed'; did you mean 'seed'\?"):
        spec(content, "grid.seed=3")
    with pytest.raises(EffaceError, match=r"^target: unknown key 'method'"):
        spec(content, "target.method=ga")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"settings": RUN, "grid": {"train.lr": [1, -1]}}, "train.lr=-1: train.lr=-1: input should be greater than 0"),
        ({"settings": RUN, "grid": {"seed": [0, "x"]}}, "seed=x: seed='x': input should be a valid integer"),
        ({"settings": {**RUN, "train": {"lrr": 1}}}, "unknown key 'train.lrr'; did you mean 'train.lr'?"),
        (
            {"settings": {"model": "m"}, "grid": {"preset": ["tofu"]}},
            "preset=tofu: unknown preset 'tofu'; allowed: demo",
        ),
        (
            {"settings": RUN, "grid": {"seed": [0]}, "exclude": [{"seed": 0}]},
            "exclude: no combination is left; leave some in",
        ),
        (
            {
                "settings": RUN,
                "grid": {"seed": [0]},
                "overrides": [{"where": {"seed": 0}, "settings": {"train.lrr": 1}}],
            },
            "seed=0: unknown key 'train.lrr'",
        ),
    ],
)
def test_combinations_that_are_refused(spec: Spec, content: dict[str, Any], sentence: str) -> None:
    read = spec(content)
    with pytest.raises(EffaceError) as error:
        combinations(read, target=None)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ({"preset": "demo"}, "target: model is required; give the model to fine-tune as target.model=MODEL"),
        ({"preset": "dema", "model": "m"}, "target: unknown preset 'dema'; did you mean 'demo'?"),
        (
            {"recipe": "ours", "model": "m", "data": "synthetic-authors"},
            "target: recipe=ours chooses among a preset's settings; add preset=NAME",
        ),
        ({"preset": "demo", "model": "m", "method": "ga"}, "target: unknown key 'method'"),
    ],
)
def test_targets_that_are_refused(spec: Spec, target: dict[str, Any], sentence: str) -> None:
    read = spec({"target": target})
    with pytest.raises(EffaceError) as error:
        target_config(read)
    assert str(error.value).startswith(sentence)


def test_files_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EffaceError, match=r"cannot read the config file .*nowhere\.yaml"):
        read_spec(tmp_path / "nowhere.yaml", [])
