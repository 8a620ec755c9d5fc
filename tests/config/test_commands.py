"""The configs of the commands: short forms, defaults, and settings that exclude each other."""

from __future__ import annotations

from typing import Any

import pytest

from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.parse import validate_config
from efface.data.config import DataConfig
from efface.downstream.config import DownstreamConfig
from efface.errors import EffaceError
from efface.train.config import LoRAConfig

RUN: dict[str, Any] = {"method": "me+gd", "model": "m", "data": "tofu-forget01"}
TOFU = DataConfig(source="tofu", split="forget01")


@pytest.mark.parametrize(
    ("settings", "attribute", "value"),
    [
        ({}, "data", TOFU),
        ({}, "downstream", None),
        ({"downstream": True}, "downstream", DownstreamConfig()),
        ({"downstream": False}, "downstream", None),
        ({"method": " ME + GD "}, "method", "me+gd"),
        ({"definition": "tofu"}, "definition", "tofu"),
    ],
)
def test_short_forms_of_a_run(settings: dict[str, Any], attribute: str, value: object) -> None:
    assert getattr(validate_config(RunConfig, RUN | settings), attribute) == value


@pytest.mark.parametrize(("given", "lora"), [(True, LoRAConfig()), (False, None), ({"r": 4}, LoRAConfig(r=4))])
def test_lora_may_be_a_switch(given: object, lora: LoRAConfig | None) -> None:
    assert validate_config(RunConfig, RUN | {"train": {"lora": given}}).train.lora == lora
    settings = {"model": "m", "data": "tofu-forget01", "train": {"lora": given}}
    assert validate_config(FinetuneConfig, settings).train.lora == lora


@pytest.mark.parametrize(
    ("config_class", "settings"),
    [
        (FinetuneConfig, {"model": "m"}),
        (EvaluationConfig, {"model": "m"}),
    ],
)
def test_every_config_takes_data_by_name(config_class: Any, settings: dict[str, Any]) -> None:
    assert validate_config(config_class, {**settings, "data": "tofu-forget01"}).data == TOFU


@pytest.mark.parametrize(
    ("config_class", "settings", "named"),
    [
        (RunConfig, {"method": "me+dg"}, ["unknown method 'me+dg'", "did you mean 'me+gd'"]),
        (RunConfig, {"definition": "closerlook"}, ["did you mean 'closer-look'"]),
        (RunConfig, {"device": "gpu"}, ["device='gpu'", "'auto', 'cpu' or 'cuda'"]),
        (RunConfig, {"seed": 2**32}, ["seed=4294967296"]),
        (RunConfig, {"forget_coeff": float("inf")}, ["forget_coeff=inf", "finite"]),
        (RunConfig, {"continual": {"requests": [1]}, "reference": "b"}, ["reference", "continual.reference"]),
        (
            RunConfig,
            {"continual": {"requests": [1]}, "data": {"source": "tofu", "split": "forget01", "forgotten_before": [2]}},
            ["data.forgotten_before", "continual.requests"],
        ),
        (
            FinetuneConfig,
            {"data": {"forget": "f.csv", "retain": "model-answers"}, "method": None},
            ["retain=model-answers", "data.retain=FILE"],
        ),
        (
            EvaluationConfig,
            {"data": {"forget": "f.csv", "retain": "model-answers"}, "method": None},
            ["retain=model-answers", "data.retain=RUN/model_answers.jsonl"],
        ),
        (EvaluationConfig, {"weights": "none", "method": None}, ["weights='none'", "'stored' or 'random'"]),
    ],
)
def test_refused_settings(config_class: Any, settings: dict[str, Any], named: list[str]) -> None:
    given = {key: value for key, value in (RUN | settings).items() if value is not None}
    with pytest.raises(EffaceError) as refused:
        validate_config(config_class, given)
    assert all(part in str(refused.value) for part in named)
