"""The command on good input: what it prints, writes and returns. Bad input: test_bad_input.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import efface as package
from efface.presets import preset_names, run_config

MODEL = Path(__file__).parent / "golden" / "model"
COMMANDS = ("run", "finetune", "score", "demo")
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a config and its data; one question is to be forgotten and kept, with two answers."""
    place = tmp_path_factory.mktemp("cli")
    wrong = {"perturbed_answers": ["In Oslo.", "In Rome."]}
    forget = [{"question": f"Where is {n}?", "answer": f"{n} is in Turku.", **wrong} for n in range(4)]
    retain = [{"question": f"Where is {n}?", "answer": f"{n} is in Bergen.", **wrong} for n in range(3, 8)]
    for name, rows in (("forget", forget), ("retain", retain)):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "model": str(MODEL),
        "data": {"forget": "forget.jsonl", "retain": "retain.jsonl"},
        "text": {"format": "plain"},
        "device": "cpu",
        "train": {"epochs": 1, "batch_size": 2},
        "evaluate": {"new_tokens": 4, "embedder": "none", "judge": "none"},
    }
    (place / "mine.yaml").write_text(yaml.safe_dump(settings))
    return place


@pytest.fixture(scope="module")
def finished(folder: Path) -> tuple[Path, str]:
    """A finished run's folder and what the command printed; a real process, in the folder of the data."""
    command = [sys.executable, "-m", "efface", "run", "mine.yaml", "method=me+gd", "seed=3", "--out", "out"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=_plain_environment())
    assert (ran.returncode, ran.stderr) == (0, "")
    return folder / "out", ran.stdout


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}


def test_run_writes_the_folder_of_a_run(finished: tuple[Path, str]) -> None:
    out, _ = finished
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


def test_run_prints_stages_losses_scores_and_what_deserves_a_warning(finished: tuple[Path, str]) -> None:
    _, printed = finished
    lines = printed.splitlines()
    assert "\x1b" not in printed
    assert any(line.startswith("warning: 1 question(s) stand in both the forget and the retain set") for line in lines)
    assert any(line.startswith("• unlearning with me+gd") for line in lines)
    assert any(line.startswith("  step 2/2 loss ") and line.endswith(" tokens/s") for line in lines)
    assert any(line.startswith(" ME+GD ") for line in lines)
    assert "model: out/model" in lines
    assert "scores: out/results.json" in lines


def test_config_of_a_finished_run_stands_for_the_same_run(
    folder: Path, finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert run_config("out/config.yaml", []) == run_config("mine.yaml", ["method=me+gd", "seed=3"])


def test_run_again_needs_resume_and_then_has_nothing_to_do(
    efface: Command, folder: Path, finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    results = Path("out/results.json").read_text()
    assert efface("run", "out/config.yaml", "--out", "out").returncode == 2
    again = efface("run", "out/config.yaml", "--out", "out", "--resume")
    assert (again.returncode, again.stderr) == (0, "")
    assert "step" not in again.stdout
    assert Path("out/results.json").read_text() == results


def test_finetune_makes_a_model(efface: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    ran = efface("finetune", "mine.yaml", "evaluate=null", "--out", "target")
    assert ran.returncode == 2  # evaluate is no setting of a fine-tuning, and the file has it
    assert "unknown key 'evaluate'" in ran.stderr
    few = ["data.authors=2", "data.forget_authors=1", "train.epochs=1", "train.batch_size=20", "train.warmup_steps=0"]
    ran = efface("finetune", "demo", f"model={MODEL}", *few, "device=cpu", "--out", "target")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-1] == "model: target/model"
    assert Path("target/model/model.safetensors").is_file()


# Scores


def scored(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON object that stands on stdout."""
    assert ran.returncode == 0, ran
    result: dict[str, Any] = json.loads(ran.stdout)
    return result


def test_score_of_a_run_is_that_of_its_results(efface: Command, finished: tuple[Path, str]) -> None:
    out, _ = finished
    results = json.loads((out / "results.json").read_text())
    for arguments, stage in (([], "after"), (["--stage", "before"], "before")):
        for path in (out, out / "records", out / "records" / stage):
            scores = scored(efface("score", str(path), *arguments, "--json"))
            assert scores.pop("definition") == "closer-look"
            assert scores == results[stage]


def test_score_of_a_foreign_log(efface: Command, shared: Path) -> None:
    logs = shared / "golden" / "eval_logs"
    expected = json.loads((logs / "llama2-7b-full.expected.json").read_text())
    arguments = ["--definition", "tofu", "--against", str(logs / "llama2-7b-retain90.json"), "--json"]
    scores = scored(efface("score", str(logs / "llama2-7b-full.json"), *arguments))
    assert scores["definition"] == "tofu"
    assert scores["model_utility"] == pytest.approx(expected["tofu_model_utility_geometric"], rel=1e-9)
    assert set(scores["forget_quality"]) == {"p_value", "statistic"}


def log_of(place: Path, name: str, questions: int) -> str:
    block = {
        "avg_gt_loss": [0.1] * questions,
        "avg_paraphrased_loss": [0.2] * questions,
        "average_perturb_loss": [[1.0 + n, 2.0] for n in range(questions)],
    }
    path = place / name
    path.write_text(json.dumps({"eval_log_forget.json": block}))
    return str(path)


def test_warning_is_a_clean_line_beside_the_json(efface: Command, tmp_path: Path) -> None:
    ran = efface("score", log_of(tmp_path, "a", 3), "--against", log_of(tmp_path, "b", 2), "--json")
    assert scored(ran)["forget_quality"]["p_value"] > 0
    assert ran.stderr == (
        "efface: warning: forget quality compares 3 questions with 2 of the retrained model; "
        "it means something only for the same questions\n"
    )


def test_score_without_json_is_a_table(efface: Command, tmp_path: Path) -> None:
    log = log_of(tmp_path, "a", 3)
    ran = efface("score", log, "--against", log)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Metrics by set" in ran.stdout
    assert "forget (3)" in ran.stdout
    assert "Forget quality: p = 1 " in ran.stdout


# The command itself


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], *([name, "--help"] for name in COMMANDS)])
def test_help_has_examples(efface: Command, arguments: list[str]) -> None:
    ran = efface(*arguments)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "Examples:\n    efface " in ran.stdout
    commands = COMMANDS if len(arguments) == 1 else arguments[:1]
    assert all(name in ran.stdout for name in commands)


@pytest.mark.parametrize("name", ["run", "finetune"])
def test_help_names_all_presets(efface: Command, name: str) -> None:
    words = efface(name, "--help").stdout.replace("-\n", "-").replace("\n", " ").split()
    joined = " ".join(words).replace("- ", "-")
    assert all(preset in joined for preset in preset_names())


def test_examples_in_the_help_resolve(efface: Command) -> None:
    lines = [line.split() for line in efface("run", "--help").stdout.splitlines() if line.startswith("    efface run ")]
    examples = [words[2 : words.index("--out")] for words in lines]
    assert len(examples) == 3
    for source, *pairs in examples:
        if source != "mine.yaml":
            assert run_config(source, pairs).model == "path/to/model"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import atexit, sys; from efface.cli import main;"
        "atexit.register(lambda: print(sorted({'torch', 'transformers', 'rich', 'yaml'} & set(sys.modules))));"
        f"sys.argv = ['efface', *{arguments}]; main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


def test_version(efface: Command) -> None:
    assert efface("--version").stdout == f"{package.__version__}\n"


def test_no_command_shows_the_help(efface: Command) -> None:
    ran = efface()
    assert ran.returncode == 2
    assert "Usage: efface" in ran.stdout + ran.stderr


def test_interrupt_ends_with_130_and_no_traceback(efface: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("efface.scores.score_path", interrupted)
    ran = efface("score", "log.json")
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")
