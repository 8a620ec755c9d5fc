"""The JSON schema of config files: it accepts what efface accepts, and names mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from efface.config.commands import RunConfig
from efface.config.json_schema import COMMANDS, json_schema
from efface.config.presets import preset_names
from efface.config.resolve import preset_to_yaml, resolve_config

EXAMPLES = Path(__file__).parents[2] / "examples"


def errors(values: Any, command: str = "run") -> list[str]:
    schema = json_schema(command)
    Draft202012Validator.check_schema(schema)
    return [error.message for error in Draft202012Validator(schema).iter_errors(values)]


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_valid(name: str) -> None:
    assert errors(yaml.safe_load(preset_to_yaml(name, []))) == []


def test_the_example_is_valid_and_complete() -> None:
    assert errors(yaml.safe_load((EXAMPLES / "run.yaml").read_text())) == []
    assert resolve_config(RunConfig, str(EXAMPLES / "run.yaml")).method == "me+kl"


@pytest.mark.parametrize(
    "values",
    [
        {"preset": "tofu-forget01", "recipe": "published", "method": "me+gd"},
        {"data": "tofu-forget01", "train": {"lora": True, "lr": 1e-5}, "downstream": True},
        {"data": {"forget": "a.csv", "retain": {"path": "b.csv", "columns": {"question": "q"}}}},
        {"data": {"forget": "a.csv", "retain": "model-answers"}, "plugins": "mine.py", "text": {"date": "2024-07-26"}},
        {
            "preset": "tofu-forget01",
            "recipe": "open-unlearning",
            "evaluate": {"stop": "###"},
            "downstream": {"tasks": "arc"},
        },
        {"data": {"forget": "a.csv", "retain": "b.csv", "holdout": "c.csv", "few_shot": "d.csv"}},
        {"data": {"source": "tofu", "split": "forget01", "holdout": "published"}},
        {"continual": {"requests": [1, 2]}, "data": {"source": "tofu", "split": "forget01"}},
        {"continual": {"requests": ["a.csv", {"path": "b.csv"}]}, "plugins": ["mine.py:Loss"]},
    ],
)
def test_short_forms_are_valid(values: dict[str, Any]) -> None:
    assert errors(values) == []


@pytest.mark.parametrize(
    "values",
    [
        {"trian": {}},
        {"train": {"lr": "fast"}},
        {"train": {"epochs": 0}},
        {"train": {"optimizer": "sgd"}},
        {"data": "tofu-forget02"},
        {"data": {"forget": {"paht": "a.csv"}}},
    ],
)
def test_mistakes_are_named(values: dict[str, Any]) -> None:
    assert errors(values)


def test_the_config_of_a_run_is_valid_for_evaluate() -> None:
    """`efface evaluate` takes it, and ignores what only a run has."""
    values = yaml.safe_load(preset_to_yaml("tofu-forget01", ["method=me+gd", "model=path/to/model"]))
    assert {"train", "method", "forget_coeff"} <= set(values)
    assert errors(values, "evaluate") == []
    assert errors({**values, "trian": {}}, "evaluate")
    assert errors({"evaluate": {"limit": "all"}}, "evaluate")


def test_every_setting_is_described() -> None:
    for command in COMMANDS:
        schema = json_schema(command)
        groups = [schema, *schema["$defs"].values()]
        fields = [(name, field) for group in groups for name, field in group.get("properties", {}).items()]
        assert [name for name, field in fields if not field.get("description")] == []
