"""Old names: every entry of the tables has a current name that exists, is read from old files and refused if typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from efface.artifacts import SetScores
from efface.config.commands import RunConfig
from efface.config.parse import dotted_keys, merge_settings, parse_pairs, validate_config
from efface.config.saved_settings import read_saved_settings
from efface.errors import EffaceError
from efface.files.folders import RunPaths
from efface.renamed import FILES, SCORE_KEYS, SETTING_VALUES, SETTINGS, SWEEP_KEYS, current_settings, renamed_to
from efface.sweep.spec import Override, SweepSpec, read_spec

OLD_CONFIG = """\
method: me+gd
model: path/to/model
data:
  source: generated
  after: [1]
  task: 2
  padding: {path: alpaca.jsonl}
  padding_items: 3
train:
  token_budget: 4096
  checkpoint_every: 7
  lr: 1.0e-05
evaluate:
  keep: last
  new_tokens: 99
  batch_tokens: 1234
  token_budget: 2048
"""


def error(pair: str, model: type[BaseModel] = RunConfig) -> str:
    """The message of the error that a setting raises when a user types it."""
    with pytest.raises(EffaceError) as caught:
        validate_config(model, parse_pairs([pair], model))
    return str(caught.value)


def test_every_current_name_exists() -> None:
    settings = dotted_keys(RunConfig)
    assert set(SETTINGS.values()) <= set(settings)
    assert not set(SETTINGS) & set(settings)
    assert set(SWEEP_KEYS.values()) <= {*SweepSpec.model_fields, *Override.model_fields}
    assert not set(SWEEP_KEYS) & {*SweepSpec.model_fields, *Override.model_fields}
    assert set(SCORE_KEYS.values()) <= set(SetScores.model_fields)
    assert not set(SCORE_KEYS) & set(SetScores.model_fields)


@pytest.mark.parametrize(("key", "old", "new"), [(*entry, new) for entry, new in SETTING_VALUES.items()])
def test_every_current_value_is_valid(key: str, old: str, new: str) -> None:
    pairs = ["method=me", "model=m", f"{key}={new}"]
    if key == "data.retain":
        pairs.append("data.forget=a.csv")
    config = validate_config(RunConfig, parse_pairs(pairs, RunConfig))
    assert new in (config.data.source, config.data.retain)
    assert old not in (config.data.source, config.data.retain)


def test_an_old_config_file(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(OLD_CONFIG)
    settings = read_saved_settings(tmp_path / "config.yaml")
    assert settings == {
        "method": "me+gd",
        "model": "path/to/model",
        "data": {
            "source": "synthetic-authors",
            "forgotten_before": [1],
            "task": 2,
            "extra_retain": {"path": "alpaca.jsonl"},
            "extra_retain_items": 3,
        },
        "train": {"max_tokens_per_forward": 4096, "save_steps": 7, "lr": 1e-5},
        "evaluate": {
            "select_epoch": "last",
            "max_new_tokens": 99,
            "max_cache_tokens": 1234,
            "max_tokens_per_forward": 2048,
        },
    }
    assert list(settings["evaluate"]) == [
        "select_epoch",
        "max_new_tokens",
        "max_cache_tokens",
        "max_tokens_per_forward",
    ]
    config = validate_config(RunConfig, settings)
    assert (config.data.forgotten_before, config.evaluate.max_new_tokens) == ((1,), 99)


@pytest.mark.parametrize(
    ("old", "current"),
    [
        ({"data": "generated"}, {"data": "synthetic-authors"}),
        ({"data": {"retain": "generated"}}, {"data": {"retain": "model-answers"}}),
        (
            {"data": {"keep_rest": True, "retain": {"path": "generated"}}},
            {"data": {"retain_minus_forget": True, "retain": {"path": "generated"}}},
        ),
        ({"text": {"keep": 1}, "keep": "generated"}, {"text": {"keep": 1}, "keep": "generated"}),
    ],
)
def test_old_settings(old: dict[str, Any], current: dict[str, Any]) -> None:
    before = yaml.safe_dump(old)
    assert current_settings(old) == current
    assert current_settings(current) == current
    assert yaml.safe_dump(old) == before, "the argument is not changed"


@pytest.mark.parametrize(("old", "new"), SETTINGS.items())
def test_an_old_setting_that_a_user_types_is_refused(old: str, new: str) -> None:
    assert renamed_to(old) == new
    assert f"{old!r} is now called {new!r}" in error(f"{old}=1")
    group, _, name = old.partition(".")
    with pytest.raises(EffaceError, match=f"'{old}' is now called '{new}'"):
        validate_config(
            RunConfig, {"method": "me", "model": "m", "data": "synthetic-authors", group: _group(group, name)}
        )


def _group(group: str, name: str) -> dict[str, Any]:
    return {name: 1} | ({"source": "synthetic-authors"} if group == "data" else {})


@pytest.mark.parametrize(("key", "old", "new"), [(*entry, new) for entry, new in SETTING_VALUES.items()])
def test_an_old_value_that_a_user_types_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, old: str, new: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert renamed_to(key, old) == f"{key}={new}"
    assert f"{key}={old} is now called {key}={new}" in error(f"{key}={old}")


def test_current_names_are_not_renamed() -> None:
    assert all(renamed_to(new) is None for new in SETTINGS.values())
    assert all(renamed_to(key, new) is None for (key, _), new in SETTING_VALUES.items())
    assert renamed_to("data.source", ["generated"]) is None
    assert renamed_to("data.retain", None) is None


@pytest.mark.parametrize(
    ("spec", "old", "new"),
    [
        ({"lines": []}, "lines", "baselines"),
        ({"per": []}, "per", "overrides"),
        ({"overrides": [{"when": {"a": 1}, "settings": {"b": 1}}]}, "overrides.0.when", "where"),
        ({"overrides": [{"where": {"a": 1}, "then": {"b": 1}}]}, "overrides.0.then", "settings"),
    ],
)
def test_an_old_key_of_a_sweep_is_refused(spec: dict[str, Any], old: str, new: str) -> None:
    with pytest.raises(EffaceError, match=f"'{old}' is now called '{new}'"):
        validate_config(SweepSpec, spec)


def test_an_old_name_in_the_grid_of_a_sweep_is_refused(tmp_path: Path) -> None:
    spec = tmp_path / "sweep.yaml"
    for content in (
        {"grid": {"evaluate.new_tokens": [1, 2]}},
        {"grid": {"seed": [0]}, "exclude": [{"evaluate.new_tokens": 1}]},
    ):
        spec.write_text(yaml.safe_dump(content))
        with pytest.raises(EffaceError, match=r"'evaluate\.new_tokens' is now called 'evaluate\.max_new_tokens'"):
            read_spec(spec, [])


def test_an_old_shorthand_of_data_is_refused_below_other_settings() -> None:
    with pytest.raises(EffaceError, match="data=generated is now called data=synthetic-authors"):
        merge_settings({"data": "generated"}, {"data": {"authors": 5}})


@pytest.mark.parametrize(("old", "new"), FILES.items())
def test_a_file_is_found_under_its_old_name(tmp_path: Path, old: str, new: str) -> None:
    assert new == "model_answers.jsonl"
    assert RunPaths(tmp_path).model_answers == tmp_path / new
    (tmp_path / old).touch()
    assert RunPaths(tmp_path).model_answers == tmp_path / old
    (tmp_path / new).touch()
    assert RunPaths(tmp_path).model_answers == tmp_path / new


def test_old_scores() -> None:
    current = SetScores.model_fields.keys()
    assert "custom" in current
    values = {name: 1 if name == "n" else None for name in current if name != "custom"}
    old, new = ({**values, key: {"brevity": 0.5}} for key in ("own", "custom"))
    assert SetScores.model_validate(old) == SetScores.model_validate(new)
