"""`efface run` and `efface unlearn` on valid input: what they print, write and return."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from efface.config.commands import RunConfig
from efface.config.resolve import resolve_config

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def ran(folder: Path) -> tuple[Path, str]:
    """A finished run's folder and what the command printed; a real process, in the folder of the data."""
    command = [sys.executable, "-m", "efface", "run", "mine.yaml", "method=me+gd", "--out", "process"]
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=plain)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "process", done.stdout


def test_run_writes_the_folder_of_a_run(ran: tuple[Path, str]) -> None:
    out, _ = ran
    assert {path.name for path in out.iterdir()} == {
        "config.yaml",
        "manifest.json",
        "metrics.jsonl",
        "model",
        "records",
        "results.json",
    }
    results = json.loads((out / "results.json").read_text())
    assert (results["schema"], results["definition"], results["method"]) == (1, "closer-look", "me+gd")
    assert results["before"]["sets"]["forget"]["n"] == 4


def test_run_prints_stages_losses_scores_and_warnings(ran: tuple[Path, str]) -> None:
    _, printed = ran
    lines = printed.splitlines()
    assert "\x1b" not in printed
    assert any(line.startswith("warning: 1 question(s) ") for line in lines)
    assert any(line.startswith("• unlearning with me+gd") for line in lines)
    assert any(line.startswith("  step 2/2 loss ") and line.endswith(" tokens/s") for line in lines)
    assert any(line.startswith(" ME+GD ") for line in lines)
    assert "model: process/model" in lines
    assert "scores: process/results.json" in lines
    assert lines[-1] == "next: efface report process"


@pytest.mark.usefixtures("finished", "here")
def test_config_of_a_finished_run_describes_the_same_run() -> None:
    assert resolve_config(RunConfig, "out/config.yaml", []) == resolve_config(
        RunConfig, "mine.yaml", ["method=me+gd", "seed=3"]
    )


@pytest.mark.usefixtures("finished", "here")
def test_run_again_needs_resume_and_then_has_nothing_to_do(efface: Command) -> None:
    results = Path("out/results.json").read_text()
    assert efface("run", "out/config.yaml", "--out", "out").returncode == 2
    again = efface("run", "out/config.yaml", "--out", "out", "--resume")
    assert (again.returncode, again.stderr) == (0, "")
    assert "step" not in again.stdout
    assert Path("out/results.json").read_text() == results


@pytest.mark.usefixtures("here")
def test_unlearn_prints_the_command_that_evaluates(efface: Command) -> None:
    ran = efface("unlearn", "mine.yaml", "method=ga+gd", "--out", "un learned")
    assert (ran.returncode, ran.stderr) == (0, "")
    model_line, next_line = ran.stdout.splitlines()[-2:]
    assert model_line == "model: un learned/model"
    assert next_line == (
        "next: efface evaluate 'un learned/config.yaml' 'model=un learned/model' --out 'un learned-scores'"
    )
    words = shlex.split(next_line)[2:]
    assert not Path("un learned/records").exists()
    scored = efface(*words)
    assert (scored.returncode, scored.stderr) == (0, "")
    assert {path.name for path in Path("un learned-scores/records").iterdir()} == {"forget.jsonl", "retain.jsonl"}
    assert "scores: un learned-scores/scores.json" in scored.stdout.splitlines()
    assert "Metrics by set" in scored.stdout


@pytest.mark.usefixtures("here")
def test_unlearn_with_model_answers_prints_a_command_that_works(efface: Command, model: Path) -> None:
    settings = ["data.forget=forget.jsonl", "data.retain=model-answers", "method=ga+gd"]
    settings += ["data.generic_questions=20", "data.known_facts=0"]
    others = [f"model={model}", "text.format=plain", "train.epochs=1", "evaluate.max_new_tokens=8", "device=cpu"]
    judges = ["evaluate.embedder=none", "evaluate.judge=none"]
    ran = efface("unlearn", *settings, *others, *judges, "--out", "custom")
    assert ran.returncode == 0, ran
    next_words = ran.stdout.splitlines()[-1].removeprefix("next: efface ").split()
    assert "data.retain=custom/model_answers.jsonl" in next_words
    assert efface(*next_words).returncode == 0


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", ["run", "unlearn", "finetune"])
def test_interrupted_training_continues(efface: Command, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    from efface.run.folder import RunFolder

    settings = ["mine.yaml", "method=ga+gd"]
    if command == "finetune":
        config = yaml.safe_load(Path("mine.yaml").read_text())
        del config["evaluate"]
        Path("learn.yaml").write_text(yaml.safe_dump(config))
        settings = ["learn.yaml"]

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "append_step", interrupted)
        ran = efface(command, *settings, "--out", f"stopped-{command}")
    assert (ran.returncode, ran.stderr) == (130, "efface: interrupted; continue with --resume\n")
    again = efface(command, *settings, "--out", f"stopped-{command}", "--resume")
    assert (again.returncode, again.stderr) == (0, "")
    assert Path(f"stopped-{command}/model/model.safetensors").is_file()
