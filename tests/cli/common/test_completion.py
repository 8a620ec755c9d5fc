"""Shell completion, by the protocol of the shells' scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from efface.config.commands import FinetuneConfig
from efface.config.parse import dotted_keys
from efface.config.presets import preset_names
from efface.objectives.config import METHODS
from efface.scores.definitions import DEFINITIONS

Complete = Callable[..., list[str]]


@pytest.fixture
def bash(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complete:
    """Complete as bash does, which splits words at `=`; the cursor is at the end of the last word."""

    def complete(*words: str) -> list[str]:
        from efface.cli import main

        monkeypatch.setenv("_EFFACE_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", "\n".join(("efface", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        monkeypatch.setattr(sys, "argv", ["efface"])
        with pytest.raises(SystemExit):
            main()
        return capsys.readouterr().out.split()

    return complete


def test_commands(bash: Complete) -> None:
    assert bash("un") == ["unlearn"]
    assert {"list", "fetch", "check", "answers", "alternatives", "probe"} == set(bash("data", ""))


def test_presets_and_keys(bash: Complete) -> None:
    offered = bash("run", "")
    assert set(preset_names()) < set(offered)
    assert {"train.lr=", "method=", "data.forget=", "recipe="} < set(offered)
    assert "train=" not in offered  # a group of settings
    assert not set(preset_names()) & set(bash("run", "demo", ""))
    assert bash("presets", "tofu-f") == ["tofu-forget01", "tofu-forget05", "tofu-forget10"]


def test_keys_are_those_of_the_command(bash: Complete) -> None:
    assert "method=" not in bash("finetune", "")
    keys = {f"{key}=" for key in dotted_keys(FinetuneConfig) if "train." in key}
    assert set(bash("finetune", "train.")) == keys - {"train.sam="}  # a group that is never absent
    assert bash("evaluate", "train.") == bash("data", "check", "train.") == []
    assert "evaluate.judge=" in bash("data", "check", "evaluate.")


def test_keys_of_commands_that_take_no_preset(bash: Complete) -> None:
    assert not {*preset_names(), "preset=", "recipe=", "method="} & set(bash("data", "probe", ""))
    assert bash("data", "probe", "se") == ["seed=", "seed=0"]
    assert bash("data", "answers", "se") == []
    assert bash("data", "answers", "evaluate.max_new") == ["evaluate.max_new_tokens=", "evaluate.max_new_tokens=200"]
    assert bash("data", "answers", "model=x", "questions", "=") == ["./"]
    assert "questions.columns.answer=" in bash("data", "probe", "model=x", "questions.columns.")


def test_lone_key_comes_with_its_values(bash: Complete) -> None:
    pairings = [f"train.pairing={value}" for value in ("", "resampled", "fixed", "published")]
    assert bash("run", "train.pai") == pairings
    assert bash("run", "train.epochs") == ["train.epochs=", "train.epochs=5"]
    assert bash("run", "train.lora.al") == ["train.lora.alpha=", "train.lora.alpha=32"]
    assert bash("run", "train.max_g") == ["train.max_grad_norm=", "train.max_grad_norm=null"]


def test_values(bash: Complete) -> None:
    assert bash("run", "tofu-forget01", "method", "=") == list(METHODS)
    assert bash("run", "method", "=", "idk") == [name for name in METHODS if name.startswith("idk")]
    assert bash("run", "definition", "=", "o") == ["open-unlearning"]
    assert bash("run", "data", "=", "real") == ["real-world"]
    assert bash("run", "train.gradient_checkpointing", "=", "") == ["true", "false", "auto"]
    assert bash("run", "train.nonsense", "=", "") == []


def test_options(bash: Complete) -> None:
    assert bash("score", "--definition", "") == list(DEFINITIONS)
    assert bash("score", "--stage", "a") == ["after"]
    assert bash("data", "fetch", "t") == ["tofu", "tofu-holdout"]


def test_zsh_keeps_words_whole() -> None:
    words = {"_EFFACE_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "efface run train.precision=b"}
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "from efface.cli import main; main()"],
        env={**os.environ, **words},
        capture_output=True,
        text=True,
        check=False,
    )
    assert '"train.precision=bf16"' in ran.stdout
    assert "transformers" not in ran.stderr
    assert "| torch" not in ran.stderr
