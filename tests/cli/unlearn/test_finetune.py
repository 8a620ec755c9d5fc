"""`efface finetune`: a target model, with or without the forget set."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.messages import assert_names

Command = Callable[..., subprocess.CompletedProcess[str]]
FINETUNE = ("finetune", "data=synthetic-authors", "text.format=plain", "device=cpu", "train.batch_size=20")


@pytest.mark.usefixtures("here")
def test_finetune_makes_a_model(efface: Command, model: Path) -> None:
    ran = efface("finetune", "mine.yaml", "evaluate=null", "--out", "target")
    assert ran.returncode == 2  # a fine-tuning has no setting `evaluate`, and the file has it
    assert_names(ran.stderr, "'evaluate'")
    few = ["data.authors=2", "data.forget_authors=1", "train.epochs=1", "train.batch_size=20", "train.warmup_steps=0"]
    ran = efface("finetune", "demo", f"model={model}", *few, "device=cpu", "--out", "target")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-1] == "model: target/model"
    assert Path("target/model/model.safetensors").is_file()


@pytest.mark.usefixtures("place")
def test_without_the_forget_set(efface: Command, model: Path) -> None:
    """The option and the setting mean the same."""
    for without in (("--without", "forget"), ("without=forget",)):
        ran = efface(*FINETUNE, f"model={model}", *without, "--out", "out", "--dry-run")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "360 items to learn" in " ".join(ran.stdout.split())
    ran = efface(*FINETUNE, f"model={model}", "--out", "out", "--dry-run")
    assert "400 items to learn" in " ".join(ran.stdout.split())


@pytest.mark.parametrize(
    ("without", "parts"),
    [("forget1", ["without", "forget01"]), ("forget05", ["tofu"])],  # TOFU is not here to be left out
)
def test_a_wrong_without_is_refused(refused: Callable[..., str], model: Path, without: str, parts: list[str]) -> None:
    arguments = (*FINETUNE, f"model={model}", "--out", "out", "--without", without)
    assert_names(refused(*arguments), *parts)
