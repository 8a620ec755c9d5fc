"""Settings by the size of the model, where a run on a user's data leaves them open."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import LlamaConfig

from efface.config.commands import RunConfig
from efface.config.parse import validate_config
from efface.config.resolve import resolve_config
from efface.config.size_defaults import TABLE
from efface.run.preparation.size_settings import tell_defaults, with_size_settings
from support.runs import Told

SMALL = TABLE[0]
ME = next(row for row in TABLE if row.me_positions is not None)


def model_config(hidden: int) -> LlamaConfig:
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 1000}
    return LlamaConfig(hidden_size=hidden, intermediate_size=4 * hidden, **layers)


MEASURED, OTHER = model_config(128), model_config(16)  # about 0.7 million parameters, and 0.03


def config(**changes: Any) -> RunConfig:
    data = {"forget": "f.csv", "retain": "r.csv"}
    return validate_config(RunConfig, {"method": "me+gd", "model": "m", "data": data, **changes})


def used(found: RunConfig) -> tuple[float, float, int, int]:
    return found.train.lr, found.forget_coeff, found.train.epochs, found.train.batch_size


def test_what_is_left_open_is_that_of_the_size() -> None:
    found, defaults = with_size_settings(config(), lambda _: MEASURED)
    assert used(found) == (SMALL.lr, SMALL.forget_coeff, SMALL.epochs, SMALL.batch_size)
    assert set(defaults) == {"train.lr", "train.epochs", "train.batch_size", "forget_coeff"}
    assert set(defaults.values()) == {SMALL.source}
    told = Told()
    tell_defaults(found, defaults, told)
    [line] = told.stages
    assert f"train.lr={SMALL.lr:g}" in line
    assert f"forget_coeff={SMALL.forget_coeff:g}" in line
    assert SMALL.source in line


def test_what_is_set_stays() -> None:
    found, defaults = with_size_settings(config(forget_coeff=0.7, train={"batch_size": 3}), lambda _: MEASURED)
    assert used(found) == (SMALL.lr, 0.7, SMALL.epochs, 3)
    assert set(defaults) == {"train.lr", "train.epochs"}
    steps, _ = with_size_settings(config(train={"max_steps": 3}), lambda _: MEASURED)
    assert steps.train.epochs == config().train.epochs


@pytest.fixture
def found_for_me(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row of ME holds for this model."""
    monkeypatch.setattr("efface.run.preparation.size_settings.default_for", lambda *_: ME)


@pytest.mark.usefixtures("found_for_me")
def test_positions_of_me_are_part_of_what_was_found() -> None:
    found, defaults = with_size_settings(config(me={"direction": "model_to_uniform"}), lambda _: MEASURED)
    assert (found.me.positions, found.me.direction) == (ME.me_positions, "model_to_uniform")
    assert defaults["me.positions"] == defaults["train.lr"] == ME.source
    told = Told()
    tell_defaults(found, defaults, told)
    [line] = told.stages
    assert f"me.positions={ME.me_positions}" in line


@pytest.mark.usefixtures("found_for_me")
@pytest.mark.parametrize("me", [{"positions": "all"}, {"average": "padded"}])
def test_positions_that_are_set_stay(me: dict[str, str]) -> None:
    found, defaults = with_size_settings(config(me=me), lambda _: MEASURED)
    assert found.me.positions == "all"
    assert "me.positions" not in defaults
    assert found.train.lr == ME.lr


def test_a_measured_rate_alone_is_no_warning() -> None:
    others = {"epochs": 4, "batch_size": 3}
    found, defaults = with_size_settings(config(forget_coeff=0.7, train=others), lambda _: MEASURED)
    assert defaults == {"train.lr": SMALL.source}
    told = Told()
    tell_defaults(found, defaults, told)
    assert (len(told.stages), told.warnings) == (1, [])


def test_with_a_rate_nothing_changes_and_no_model_is_read() -> None:
    given = config(train={"lr": 1e-5})
    assert with_size_settings(given, pytest.fail) == (given, {})


@pytest.mark.parametrize(
    ("changes", "model"),
    [
        ({}, OTHER),
        ({"train": {"lora": True}}, MEASURED),
        ({"data": "synthetic-authors"}, MEASURED),
    ],
)
def test_what_was_not_measured_keeps_the_published_rate(changes: dict[str, Any], model: LlamaConfig) -> None:
    given = config(**changes)
    found, defaults = with_size_settings(given, lambda _: model)
    assert found == given
    assert list(defaults) == ["train.lr"]
    told = Told()
    tell_defaults(found, defaults, told)
    [line] = told.warnings
    assert all(part in line for part in ("train.lr=1e-05", "efface tune"))


@pytest.mark.parametrize("preset", ["tofu-forget01", "tofu-forget10", "real-world"])
def test_a_preset_with_a_small_model_warns(preset: str) -> None:
    given = resolve_config(RunConfig, preset, ["model=m", "method=npo+gd"])
    found, defaults = with_size_settings(given, lambda _: MEASURED)
    assert found == given
    told = Told()
    tell_defaults(found, defaults, told)
    [line] = told.warnings
    assert all(part in line for part in ("train.lr=1e-05", "7 billion", "efface tune"))


def test_a_benchmark_with_the_model_it_was_published_for_says_nothing() -> None:
    given = resolve_config(RunConfig, "tofu-forget01", ["model=m", "method=npo+gd"])
    told = Told()
    tell_defaults(given, {"train.lr": TABLE[-1].source}, told)
    assert not told.warnings + told.stages


def test_a_recipe_and_a_rate_that_is_set_are_choices() -> None:
    for pair in ("recipe=open-unlearning", "train.lr=1e-5"):
        given = resolve_config(RunConfig, "tofu-forget01", ["model=m", "method=npo+gd", pair])
        assert with_size_settings(given, pytest.fail) == (given, {})
