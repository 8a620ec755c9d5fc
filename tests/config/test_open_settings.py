"""What a user leaves open is told from what was given, and filled in."""

from __future__ import annotations

from typing import Any

import pytest

from efface.config.commands import RunConfig
from efface.config.open_settings import as_saved, is_set, with_values
from efface.config.parse import validate_config


def config(**changes: Any) -> RunConfig:
    data = {"forget": "f.csv", "retain": "r.csv"}
    return validate_config(RunConfig, {"method": "me+gd", "model": "m", "data": data, **changes})


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("forget_coeff", {"forget_coeff": 1.0}),
        ("train.lr", {"train": {"lr": 1e-5}}),
        ("train.epochs", {"train": {"epochs": 5}}),
        ("train.epochs", {"train": {"max_steps": 5}}),
        ("me.positions", {"me": {"positions": "answer"}}),
    ],
)
def test_a_setting_is_set_if_it_was_given(key: str, given: dict[str, Any]) -> None:
    assert is_set(config(**given), key)
    assert not is_set(config(), key)


def test_filled_in_settings_count_as_set() -> None:
    found = with_values(config(), {"train.lr": 3e-4, "forget_coeff": 0.2})
    assert (found.train.lr, found.forget_coeff) == (3e-4, 0.2)
    assert is_set(found, "train.lr")
    assert is_set(found, "forget_coeff")


def test_saved_values_replace_only_what_is_open() -> None:
    saved = {"train": {"lr": 3e-4, "epochs": 20, "weight_decay": 0.7}, "forget_coeff": 0.1}
    found = as_saved(config(train={"epochs": 4}), saved)
    assert (found.train.lr, found.train.epochs, found.forget_coeff) == (3e-4, 4, 0.1)
    assert found.train.weight_decay == config().train.weight_decay, "not one that follows from the size"
