"""`efface import open-unlearning`: a config on stdout that can be used, and notes on stderr."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from efface.config.commands import RunConfig
from efface.config.resolve import resolve_config
from support.messages import assert_names

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_the_printed_config_is_that_of_a_run(efface: Command, tmp_path: Path) -> None:
    ran = efface(
        "import", "open-unlearning", "--config-name=unlearn.yaml", "experiment=unlearn/tofu/default", "trainer=NPO",
        "forget_split=forget05", "retain_split=retain95", "retain_logs_path=saves/TOFU_EVAL.json", "task_name=mine",
    )  # fmt: skip
    assert ran.returncode == 0
    assert_names(ran.stderr, "note: ", "saves/TOFU_EVAL.json", "several GPUs", "not used", "task_name=mine")
    path = tmp_path / "npo.yaml"
    path.write_text(ran.stdout)
    config = resolve_config(RunConfig, str(path))
    assert (config.method, config.data.split, config.train.epochs) == ("npo+gd", "forget05", 10)


def test_what_is_unknown_is_one_sentence(efface: Command) -> None:
    for argument, named in (("trainer=NOP", "NPO"), ("mod=a", "model")):
        ran = efface("import", "open-unlearning", argument)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert_names(ran.stderr, argument, named)
        assert len(ran.stderr.splitlines()) == 1


def test_a_file_without_data_is_named(efface: Command, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("trainer: {handler: NPO}\nmodel: {model_args: {pretrained_model_name_or_path: mine}}\n")
    ran = efface("import", "open-unlearning", str(path))
    assert (ran.returncode, ran.stdout) == (2, "")
    assert_names(ran.stderr, str(path), "data.forget")


def test_without_a_tool(efface: Command) -> None:
    ran = efface("import")
    assert ran.returncode == 2
    assert "open-unlearning" in ran.stdout
