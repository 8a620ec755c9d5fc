"""The command presets: the list, and settings that can be saved and used."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from efface.config.commands import RunConfig
from efface.config.presets import load_preset, preset_names
from efface.config.resolve import resolve_config

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_list_tells_of_each_preset(efface: Command) -> None:
    ran = efface("presets")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == preset_names()
    for name in preset_names():
        start = lines.index(name)
        assert lines[start + 1] == f"  about: {load_preset(name).about}"
        assert lines[start + 3] == f"  recipes: {'ours, published' if load_preset(name).published else 'ours'}"
    assert "  tuned: me+gd, idk+ap, ga+gd, idk+gd; other methods take the paper's defaults" in lines


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("method", ["me+gd", "npo+kl"])
def test_shown_settings_are_a_config_of_the_same_run(efface: Command, tmp_path: Path, name: str, method: str) -> None:
    pairs = [f"method={method}", "seed=7"] + (["recipe=published"] if load_preset(name).published else [])
    ran = efface("presets", name, *pairs)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "# model: path/to/model  # required; add yours" in ran.stdout.splitlines()
    saved = tmp_path / "saved.yaml"
    saved.write_text(ran.stdout)
    assert resolve_config(RunConfig, str(saved), ["model=mine"]) == resolve_config(
        RunConfig, name, [*pairs, "model=mine"]
    )


def test_without_a_method_what_all_share_is_shown(efface: Command) -> None:
    first, second, *rest = efface("presets", "tofu-forget01").stdout.splitlines()
    assert first == "# Settings for all methods; method=me+gd adds specific ones"
    assert second == "# method: me+gd  # required; add yours"
    assert "forget_coeff: 1.0" in rest
    assert "forget_coeff: 0.1" in efface("presets", "tofu-forget01", "method=me+gd").stdout


def test_given_model_is_shown(efface: Command) -> None:
    lines = efface("presets", "demo", "method=ga", "model=mine").stdout.splitlines()
    assert lines[:2] == ["method: ga", "model: mine"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tofu-forget1"], "unknown preset 'tofu-forget1'; did you mean 'tofu-forget10'?"),
        (["method=me+gd"], "unknown preset 'method=me+gd'"),
        (["demo", "recipe=published"], "recipe=published: this preset has no published settings; leave recipe out"),
        (["demo", "method=me+dg"], "unknown method 'me+dg'; did you mean 'me+gd'?"),
        (["demo", "trian.lr=1"], "unknown key 'trian.lr'; did you mean 'train.lr'?"),
    ],
)
def test_refusals(refused: Callable[..., str], arguments: list[str], sentence: str) -> None:
    assert sentence in refused("presets", *arguments)
