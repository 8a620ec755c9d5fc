"""One function resolves preset, recipe, config file, Python settings and key=value pairs into a checked config."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from efface.config.commands import DownstreamRunConfig, EvaluationConfig, FinetuneConfig, RunConfig
from efface.config.data_commands import AnswersConfig, DataInspectionConfig, ProbeConfig
from efface.config.parse import to_yaml, validate_config
from efface.config.presets import preset_names
from efface.config.resolve import preset_to_yaml, resolve_config
from efface.errors import EffaceError


def run(name: str, *pairs: str) -> RunConfig:
    return resolve_config(RunConfig, name, ["model=m", *pairs])


@pytest.fixture
def config_file(tmp_path: Path) -> str:
    """A config file that names a preset and a recipe."""
    path = tmp_path / "mine.yaml"
    path.write_text("preset: tofu-forget01\nrecipe: published\nmethod: me+gd\nforget_coeff: 0.3\ntrain: {epochs: 3}\n")
    return str(path)


def test_later_layers_override_earlier_ones(config_file: str) -> None:
    config = run(config_file, "train.lr=1e-4")
    assert (config.forget_coeff, config.me.average) == (0.3, "padded")
    assert (config.train.epochs, config.train.lr, config.train.batch_size) == (3, 1e-4, 32)
    assert run(config_file, "recipe=ours").me.average == "tokens"
    assert run(config_file, "preset=tofu-forget10").data.split == "forget10"


def test_pairs_override_python_settings_and_these_the_file(config_file: str) -> None:
    settings = {"model": "m", "train": {"epochs": 4, "batch_size": 5}}
    train = resolve_config(RunConfig, config_file, ["train.epochs=6"], settings=settings).train
    assert (train.epochs, train.batch_size, train.weight_decay) == (6, 5, 0.01)


def test_every_source_gives_the_same_config(tmp_path: Path) -> None:
    settings = {"preset": "demo", "recipe": "ours", "method": "ga+gd", "model": "m", "seed": 3}
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(settings))
    from_python = resolve_config(RunConfig, settings=settings)
    assert resolve_config(RunConfig, str(tmp_path / "all.yaml")) == from_python
    assert resolve_config(RunConfig, None, [f"{key}={value}" for key, value in settings.items()]) == from_python
    assert run("demo", "recipe=ours", "method=ga+gd", "seed=3") == from_python


def test_method_may_be_written_as_in_the_paper() -> None:
    assert run("tofu-forget01", "method=ME + GD", "recipe=published").forget_coeff == 0.1


def test_finetuning_takes_data_and_format_of_the_run() -> None:
    def finetuning(*pairs: str) -> FinetuneConfig:
        return resolve_config(FinetuneConfig, "tofu-forget05", ["model=m", *pairs])

    config = finetuning("recipe=published", "data.retain_items=50")
    assert (config.data.split, config.text.format, config.data.retain_items) == ("forget05", "llama2", 50)
    assert (finetuning().text.format, finetuning().train.lr) == ("chat", 2e-5)


@pytest.mark.parametrize("config_class", [EvaluationConfig, DataInspectionConfig])
def test_a_runs_file_or_preset_may_be_evaluated(tmp_path: Path, config_class: Any) -> None:
    """The settings that only a run has are ignored, except where the user sets them for this command."""
    config = run("real-world", "method=me+gd", "text.format=plain", "evaluate.limit=3")
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    evaluated = resolve_config(config_class, str(tmp_path / "config.yaml"))
    assert {name: getattr(evaluated, name) for name in ("data", "text", "evaluate", "model")} == {
        name: getattr(config, name) for name in ("data", "text", "evaluate", "model")
    }
    assert resolve_config(config_class, "real-world", ["model=m"]).data == config.data
    for pairs, settings in ((["method=me+gd"], {}), ([], {"method": "me+gd"})):
        if config_class is DataInspectionConfig:  # takes what a run takes
            found = resolve_config(config_class, "real-world", ["model=m", *pairs], settings=settings)
            assert found.data == config.data
            continue
        with pytest.raises(EffaceError, match="unknown key 'method'"):
            resolve_config(config_class, "real-world", ["model=m", *pairs], settings=settings)


def test_an_evaluation_does_not_depend_on_the_method() -> None:
    pairs = ["model=m", "recipe=published"]
    assert resolve_config(EvaluationConfig, "real-world", pairs).text == run("real-world", "method=idk+ap", *pairs).text


@pytest.mark.parametrize(
    ("config_class", "source", "pairs", "named"),
    [
        (RunConfig, None, ["recipe=published"], ["recipe=published", "add preset=NAME"]),
        (RunConfig, None, ["preset=tofu-forget1"], ["unknown preset 'tofu-forget1'", "did you mean 'tofu-forget01'"]),
        (RunConfig, "tofu-forget01", ["recipe=publishd"], ["unknown recipe 'publishd'", "'published'"]),
        (RunConfig, "demo", ["recipe=published"], ["no published settings", "leave recipe out"]),
        (RunConfig, "tofu-forget", [], ["'tofu-forget' is neither a preset nor a config file", *preset_names()]),
        (RunConfig, "synthetic-authors", [], ["data=synthetic-authors"]),
        (RunConfig, "questions.csv", [], ["questions.csv is not a config file", "data.forget=questions.csv"]),
        (RunConfig, "none.yaml", [], ["cannot read the config file none.yaml"]),
        (FinetuneConfig, "demo", ["method=me+gd"], ["unknown key 'method'"]),
        (FinetuneConfig, "demo", [], ["model is required"]),
        (AnswersConfig, None, ["model=m"], ["questions is required", "people.csv"]),
        (AnswersConfig, None, ["model=m", "questions=q.csv", "preset=demo"], ["unknown key 'preset'"]),
        (ProbeConfig, None, ["model=m", "recipe=ours"], ["unknown key 'recipe'"]),
        (DownstreamRunConfig, None, ["model=m", "preset=demo"], ["unknown key 'preset'"]),
    ],
)
def test_refused(config_class: Any, source: str | None, pairs: list[str], named: list[str]) -> None:
    with pytest.raises(EffaceError) as refused:
        resolve_config(config_class, source, pairs)
    assert all(part in str(refused.value) for part in named)


@pytest.mark.parametrize(
    ("content", "pairs", "named"),
    [
        ("foo: 1", [], "unknown key 'foo'"),
        ("train: {lr: high}", ["train.epochs=1"], "train.lr='high'"),
        ("data: {forgett: x.csv}", ["data.passage_length=90"], "unknown key 'data.forgett'"),
    ],
)
def test_the_file_of_an_invalid_setting_is_named(tmp_path: Path, content: str, pairs: list[str], named: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(EffaceError, match=rf"^{re.escape(str(path))}: {named}"):
        resolve_config(RunConfig, str(path), ["method=me", "model=m", "data.forget=f.csv", *pairs])


def test_an_invalid_setting_that_is_not_from_the_file_does_not_name_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("{method: me, model: m, data: {forget: f.csv}, train: {lr: high}}")
    for pairs, named in (
        (["train.lr=low"], "train.lr='low'"),
        (["train.lr=1", "train.epochs=few"], "train.epochs='few'"),
    ):
        with pytest.raises(EffaceError, match=f"^{named}"):
            resolve_config(RunConfig, str(path), pairs)


def test_a_preset_as_a_config_file(tmp_path: Path) -> None:
    text = preset_to_yaml("demo", ["method=ga+gd", "seed=7"])
    assert "# model: path/to/model  # required" in text
    (tmp_path / "demo.yaml").write_text(text)
    assert run(str(tmp_path / "demo.yaml")) == run("demo", "method=ga+gd", "seed=7")


def test_a_preset_without_a_method() -> None:
    _, first, second, *_ = preset_to_yaml("demo", ["model=m"]).splitlines()
    assert "method=me+gd, idk+ap, ga+gd, idk+gd" in first
    assert second.startswith("# method: ")
    assert validate_config(RunConfig, {**yaml.safe_load(preset_to_yaml("demo", ["model=m"])), "method": "me+gd"})
