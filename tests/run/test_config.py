"""From YAML and key=value pairs to checked settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from efface.config.commands import FinetuneConfig, RunConfig
from efface.config.parse import dotted_keys, merge_settings, parse_pairs, read_yaml, to_yaml, validate_config
from efface.data.config import FileConfig
from efface.errors import EffaceError
from efface.train.config import LoRAConfig

REQUIRED = {"method": "me+gd", "model": "m", "data": "synthetic-authors"}


def run(*pairs: str, **own: Any) -> RunConfig:
    return validate_config(RunConfig, merge_settings(REQUIRED | own, parse_pairs(pairs, RunConfig)))


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("train.lr=1e-5", 1e-5),  # text in YAML 1.1
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
        ("model=2024", "2024"),  # a folder, whatever YAML makes of it
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
def test_values_of_every_kind(pair: str, value: object) -> None:
    config: Any = run(pair, "data.forget=f") if pair.startswith("data.retain") else run(pair)
    given = pair.partition("=")[0]
    key = {"me": "me.average", "train.lora.r": "train.lora"}.get(given, given)
    for part in key.split("."):
        config = getattr(config, part)
    assert config == value


def test_later_wins() -> None:
    config = run("train.epochs=3", "train={epochs: 4, lr: 1.0}", "train.epochs=7", train={"batch_size": 2})
    assert (config.train.epochs, config.train.lr, config.train.batch_size) == (7, 1.0, 2)


def test_lora_on_its_own_keeps_what_follows() -> None:
    assert run("train.lora=true", "train.lora.r=3").train.lora == LoRAConfig(r=3)
    assert run("train.lora.r=3", train={"lora": True}).train.lora == LoRAConfig(r=3)
    assert run("train.lora.r=3", "train.lora=true").train.lora == LoRAConfig()


@pytest.mark.parametrize(
    ("below", "pairs", "expected"),
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
        # another source starts anew, whatever the order
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
def test_data_over_data(below: object, pairs: list[str], expected: dict[str, object]) -> None:
    assert run(*pairs, data=below).data == run(data=expected).data


def test_data_that_contradicts_its_source_is_refused() -> None:
    with pytest.raises(EffaceError, match="split=forget01 does not apply to source=synthetic-authors"):
        run("data.split=forget01")


def test_every_key_is_a_setting() -> None:
    keys = dotted_keys(RunConfig)
    assert {"method", "train.lora.alpha", "data.retain", "me.average", "evaluate.limit"} <= keys.keys()
    for key in keys:
        assert parse_pairs([f"{key}=x"], RunConfig)
    assert "method" not in dotted_keys(FinetuneConfig)


def test_settings_survive_their_own_yaml() -> None:
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


def test_values_are_not_spilled_whole() -> None:
    with pytest.raises(EffaceError) as refused:
        run(f"seed={'x' * 10_000}")
    assert len(str(refused.value)) < 200


def test_misspelled_key_is_named_before_the_missing_one() -> None:
    with pytest.raises(EffaceError, match="unknown key 'metod'; did you mean 'method'"):
        validate_config(RunConfig, {"metod": "me+gd", "model": "m", "data": "synthetic-authors"})


def test_same_name_in_two_groups_names_both() -> None:
    with pytest.raises(EffaceError, match=r"did you mean 'me\.positions' or 'kl\.positions'\?"):
        parse_pairs(["positions=all"], RunConfig)


def test_keys_of_the_right_group_are_listed() -> None:
    with pytest.raises(EffaceError, match=r"'train\.lora\.rnk'; .*allowed: train\.lora\.alpha, train\.lora\.bits"):
        parse_pairs(["train.lora.rnk=3"], RunConfig)
    with pytest.raises(EffaceError, match=r"unknown key 'nothing\.like\.it'; allowed: beta, continual, data"):
        parse_pairs(["nothing.like.it=3"], RunConfig)


def test_yaml_file(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("method: me+gd\ntrain: {lr: 1e-5}\n")
    assert read_yaml(path) == {"method": "me+gd", "train": {"lr": "1e-5"}}
    assert run(**read_yaml(path)).train.lr == 1e-5
