"""Read, merge and check settings: YAML files, key=value pairs, and the message for each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from efface.config.commands import FinetuneConfig, RunConfig
from efface.config.parse import (
    dotted_keys,
    merge_settings,
    nest_settings,
    parse_pairs,
    read_yaml,
    to_yaml,
    validate_config,
)
from efface.data.config import FileConfig
from efface.errors import EffaceError
from efface.train.config import LoRAConfig

REQUIRED = {"method": "me+gd", "model": "m", "data": "synthetic-authors"}


def run(*pairs: str, **changes: Any) -> RunConfig:
    return validate_config(RunConfig, merge_settings(REQUIRED | changes, parse_pairs(pairs, RunConfig)))


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("train.lr=1e-5", 1e-5),  # YAML 1.1 reads this as text
        ("train.lr=0.00001", 1e-5),
        ("train.epochs=3", 3),
        ("train.gradient_checkpointing=true", True),
        ("train.tracker=null", None),
        ("train.tracker=tensorboard", "tensorboard"),
        ("train.lora=true", LoRAConfig()),
        ("train.lora=false", None),
        ("train.lora=null", None),
        ("train.lora={r: 4}", LoRAConfig(r=4)),
        ("train.lora.r=4", LoRAConfig(r=4)),
        ("me={average: padded}", "padded"),
        ("method= ME + GD ", "me+gd"),
        ("model=2024", "2024"),  # a folder, although YAML reads a number
        ("model=2024-01-01", "2024-01-01"),
        ("model=yes", "yes"),
        ("model=a=b", "a=b"),
        ("data.forget=7", FileConfig(path="7")),
        ("data.forget={path: a.csv, split: test}", FileConfig(path="a.csv", split="test")),
        ("data.retain=model-answers", "model-answers"),
        ("text.format={question} {answer}", "{question} {answer}"),
        ("text.format=Q: {question} A: {answer}", "Q: {question} A: {answer}"),
        (r'text.format="Q: {question}\nA: {answer}"', "Q: {question}\nA: {answer}"),
    ],
)
def test_values_of_every_type(pair: str, value: object) -> None:
    config: Any = run(pair, "data.forget=f") if pair.startswith("data.retain") else run(pair)
    given = pair.partition("=")[0]
    key = {"me": "me.average", "train.lora.r": "train.lora"}.get(given, given)
    for part in key.split("."):
        config = getattr(config, part)
    assert config == value


def test_later_pairs_override_earlier_ones() -> None:
    config = run("train.epochs=3", "train={epochs: 4, lr: 1.0}", "train.epochs=7", train={"batch_size": 2})
    assert (config.train.epochs, config.train.lr, config.train.batch_size) == (7, 1.0, 2)


def test_lora_switch_and_settings_combine() -> None:
    assert run("train.lora=true", "train.lora.r=3").train.lora == LoRAConfig(r=3)
    assert run("train.lora.r=3", train={"lora": True}).train.lora == LoRAConfig(r=3)
    assert run("train.lora.r=3", "train.lora=true").train.lora == LoRAConfig()


@pytest.mark.parametrize(
    ("base", "pairs", "expected"),
    [
        (
            {"source": "synthetic-authors", "authors": 9},
            ["data=tofu-forget05"],
            {"source": "tofu", "split": "forget05"},
        ),
        ("tofu-forget05", ["data.task=2"], {"source": "tofu", "split": "forget05", "task": 2}),
        ("tofu-forget05", ["data.task=2", "data=tofu-forget10"], {"source": "tofu", "split": "forget10"}),
        ("tofu-forget05", ["data=tofu-forget10", "data.task=2"], {"source": "tofu", "split": "forget10", "task": 2}),
        ("tofu-forget05", ["data.split=forget10"], {"source": "tofu", "split": "forget10"}),
        # another source replaces all data settings, whatever the order
        ("tofu-forget05", ["data.source=synthetic-authors"], {"source": "synthetic-authors"}),
        (
            "tofu-forget05",
            ["data.authors=9", "data.source=synthetic-authors"],
            {"source": "synthetic-authors", "authors": 9},
        ),
        ("tofu-forget05", ["data.forget=f", "data.retain=r"], {"source": "files", "forget": "f", "retain": "r"}),
        ({"forget": "f", "retain": "r"}, ["data.retain=s"], {"source": "files", "forget": "f", "retain": "s"}),
    ],
)
def test_data_over_data(base: object, pairs: list[str], expected: dict[str, object]) -> None:
    assert run(*pairs, data=base).data == run(data=expected).data


def test_nested_settings() -> None:
    settings = {"train.lr": 1, "train.lora.r": 2, "seed": 3}
    assert nest_settings(settings) == {"train": {"lr": 1, "lora": {"r": 2}}, "seed": 3}


def test_merging_leaves_the_base_unchanged() -> None:
    base = {"train": {"lr": 1, "epochs": 2}, "seed": 3}
    assert merge_settings(base, {"train": {"lr": 4}}) == {"train": {"lr": 4, "epochs": 2}, "seed": 3}
    assert base == {"train": {"lr": 1, "epochs": 2}, "seed": 3}


def test_every_key_is_a_setting() -> None:
    keys = dotted_keys(RunConfig)
    assert {"method", "train.lora.alpha", "data.retain", "me.average", "evaluate.limit"} <= keys.keys()
    for key in keys:
        assert parse_pairs([f"{key}=x"], RunConfig)
    assert "method" not in dotted_keys(FinetuneConfig)


def test_a_config_written_as_yaml_is_read_back() -> None:
    configs: list[RunConfig | FinetuneConfig] = [
        run(
            "train.lr=3e-7", "train.lora=true", "data.forget=f", "data.retain=r", r'text.format="{question}\n{answer}"'
        ),
        validate_config(FinetuneConfig, {"model": "m", "data": "tofu-forget01"}),
    ]
    for config in configs:
        text = to_yaml(config)
        assert validate_config(type(config), yaml.safe_load(text)) == config
        assert to_yaml(validate_config(type(config), yaml.safe_load(text))) == text
    assert to_yaml(configs[0]).startswith("method: me+gd\nmodel: m\ndata:\n")


def test_yaml_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("method: me+gd\ntrain: {lr: 1e-5}\n")
    assert read_yaml(path) == {"method": "me+gd", "train": {"lr": "1e-5"}}
    assert run(**read_yaml(path)).train.lr == 1e-5


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"model: [", ["line 1", "not valid YAML", "`key: value`"]),
        (b"just words", ["must contain settings"]),
        (b"", ["must contain settings"]),
        (b"1: 2", ["must contain settings"]),
        (b"method: \xe9", ["is not UTF-8 text"]),
        (None, ["cannot read the config file", "No such file", "check the path"]),
    ],
)
def test_refused_files(tmp_path: Path, content: bytes | None, named: list[str]) -> None:
    path = tmp_path / "settings.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EffaceError) as refused:
        read_yaml(path)
    assert all(part in str(refused.value) for part in [str(path), *named])
    assert "\n" not in str(refused.value)


def test_a_folder_is_not_a_config_file(tmp_path: Path) -> None:
    with pytest.raises(EffaceError, match="is a folder; give a YAML file"):
        read_yaml(tmp_path)


@pytest.mark.parametrize(
    ("pair", "named"),
    [
        ("train.lr", ["'train.lr'", "key=value"]),
        ("train.learning_rate=1e-4", ["'train.learning_rate'", "did you mean 'train.lr'"]),
        ("alpha=2", ["did you mean 'retain_coeff' or 'train.lora.alpha'"]),
        ("positions=all", ["did you mean 'me.positions' or 'kl.positions' or 'pdu.positions'"]),
        ("train.lora.rnk=3", ["'train.lora.rnk'", "allowed: train.lora.adapter, train.lora.alpha"]),
        ("nothing.like.it=3", ["unknown key 'nothing.like.it'", "allowed: beta, ceu, continual, data"]),
        ("train.checkpoint_every=3", ["'train.checkpoint_every' is now called 'train.save_steps'"]),
        ("data.split=forget01", ["split=forget01", "source=synthetic-authors"]),
        ("data.source=generated", ["data.source=generated is now called data.source=synthetic-authors"]),
        ("train=5", ["train=5", "train.lr="]),
        ("seed=-1", ["seed=-1", "greater than or equal to 0"]),
    ],
)
def test_refused_pairs(pair: str, named: list[str]) -> None:
    with pytest.raises(EffaceError) as refused:
        run(pair)
    assert all(part in str(refused.value) for part in named)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"method": "me+gd", "model": "m", "data.task": 2}, r"'data.task' is not nested; write data: \{task: ...\}"),
        ({"train.lora.r": 8, "model": "m"}, r"write train: \{lora: \{r: ...\}\}"),
        ({"metod": "me+gd", "model": "m", "data": "synthetic-authors"}, "unknown key 'metod'; did you mean 'method'"),
        ({"model": "m", "data": "synthetic-authors"}, r"method is required; .*method=me\+gd"),
        ({"method": "me+gd", "data": "synthetic-authors"}, "model is required; .*model=MODEL"),
        ({"method": "me+gd", "model": "m"}, "data is required; .*data.forget=FILE"),
    ],
)
def test_missing_settings(settings: dict[str, Any], named: str) -> None:
    """A misspelled key is named before the one that is missing because of it."""
    with pytest.raises(EffaceError, match=named):
        validate_config(RunConfig, settings)


def test_long_values_are_shortened_in_messages() -> None:
    with pytest.raises(EffaceError) as refused:
        run(f"seed={'x' * 10_000}")
    assert len(str(refused.value)) < 200
