"""`efface presets`: the list, and settings that can be saved and used."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from efface.config.commands import RunConfig
from efface.config.presets import load_preset, preset_names
from efface.config.resolve import resolve_config
from support.messages import assert_names

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_list(efface: Command) -> None:
    ran = efface("presets")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == preset_names()
    for name in preset_names():
        start = lines.index(name)
        assert lines[start + 1] == f"  about: {load_preset(name).about}"
        recipes = ", ".join(load_preset(name).recipes)
        assert lines[start + (3 if load_preset(name).methods else 2)] == f"  recipes: {recipes}"
    assert "  tuned: me+gd, idk+ap, ga+gd, idk+gd; other methods use the paper's defaults" in lines


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("method", ["me+gd", "npo+kl"])
def test_shown_settings_are_a_config_of_the_same_run(efface: Command, tmp_path: Path, name: str, method: str) -> None:
    pairs = [f"method={method}", "seed=7"] + (["recipe=published"] if load_preset(name).published else [])
    ran = efface("presets", name, *pairs)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "# model: path/to/model  # required" in ran.stdout
    saved = tmp_path / "saved.yaml"
    saved.write_text(ran.stdout)
    assert resolve_config(RunConfig, str(saved), ["model=mine"]) == resolve_config(
        RunConfig, name, [*pairs, "model=mine"]
    )


def test_without_a_method_the_common_settings_are_shown(efface: Command) -> None:
    schema, first, second, *rest = efface("presets", "tofu-forget01").stdout.splitlines()
    assert schema == "# yaml-language-server: $schema=efface.schema.json"
    assert first.startswith("# ")
    assert_names(second, "# method: me+gd", "required")
    assert "forget_coeff: 1.0" in rest
    assert "forget_coeff: 0.1" in efface("presets", "tofu-forget01", "method=me+gd").stdout


def test_given_model_is_shown(efface: Command) -> None:
    lines = efface("presets", "demo", "method=ga", "model=mine").stdout.splitlines()
    assert lines[1:3] == ["method: ga", "model: mine"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["tofu-forget1"], ["'tofu-forget1'", "'tofu-forget01'"]),
        (["method=me+gd"], ["'method=me+gd'"]),
        (["demo", "recipe=published"], ["recipe=published", "leave recipe out"]),
        (["demo", "method=me+dg"], ["'me+dg'", "'me+gd'"]),
        (["demo", "trian.lr=1"], ["'trian.lr'", "'train.lr'"]),
    ],
)
def test_refused(refused: Callable[..., str], arguments: list[str], parts: list[str]) -> None:
    assert_names(refused("presets", *arguments), *parts)
