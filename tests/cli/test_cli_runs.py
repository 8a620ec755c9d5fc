"""The commands run, unlearn, evaluate and finetune on good input: what they print, write and return."""

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

from efface.config.presets import run_config

MODEL = Path(__file__).parents[1] / "golden" / "model"
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
        "evaluate": {"max_new_tokens": 4, "embedder": "none", "judge": "none"},
    }
    (place / "mine.yaml").write_text(yaml.safe_dump(settings))
    return place


@pytest.fixture(scope="module")
def finished(folder: Path) -> tuple[Path, str]:
    """A finished run's folder and what the command printed; a real process, in the folder of the data."""
    command = [sys.executable, "-m", "efface", "run", "mine.yaml", "method=me+gd", "seed=3", "--out", "out"]
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=plain)
    assert (ran.returncode, ran.stderr) == (0, "")
    return folder / "out", ran.stdout


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


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
    assert any(line.startswith("warning: 1 question(s) are in both the forget and the retain set") for line in lines)
    assert any(line.startswith("• unlearning with me+gd") for line in lines)
    assert any(line.startswith("  step 2/2 loss ") and line.endswith(" tokens/s") for line in lines)
    assert any(line.startswith(" ME+GD ") for line in lines)
    assert "model: out/model" in lines
    assert "scores: out/results.json" in lines
    assert lines[-1] == "next: efface report out"


@pytest.mark.usefixtures("finished", "here")
def test_config_of_a_finished_run_stands_for_the_same_run() -> None:
    assert run_config("out/config.yaml", []) == run_config("mine.yaml", ["method=me+gd", "seed=3"])


@pytest.mark.usefixtures("finished", "here")
def test_run_again_needs_resume_and_then_has_nothing_to_do(efface: Command) -> None:
    results = Path("out/results.json").read_text()
    assert efface("run", "out/config.yaml", "--out", "out").returncode == 2
    again = efface("run", "out/config.yaml", "--out", "out", "--resume")
    assert (again.returncode, again.stderr) == (0, "")
    assert "step" not in again.stdout
    assert Path("out/results.json").read_text() == results


def test_score_of_a_run_is_that_of_its_results(efface: Command, finished: tuple[Path, str]) -> None:
    out, _ = finished
    results = json.loads((out / "results.json").read_text())
    for arguments, stage in (([], "after"), (["--stage", "before"], "before")):
        for path in (out, out / "records", out / "records" / stage):
            ran = efface("score", str(path), *arguments, "--json")
            scores = json.loads(ran.stdout)
            assert scores.pop("definition") == "closer-look"
            assert scores == results[stage]


@pytest.mark.usefixtures("here")
def test_finetune_makes_a_model(efface: Command) -> None:
    ran = efface("finetune", "mine.yaml", "evaluate=null", "--out", "target")
    assert ran.returncode == 2  # evaluate is no setting of a fine-tuning, and the file has it
    assert "unknown key 'evaluate'" in ran.stderr
    few = ["data.authors=2", "data.forget_authors=1", "train.epochs=1", "train.batch_size=20", "train.warmup_steps=0"]
    ran = efface("finetune", "demo", f"model={MODEL}", *few, "device=cpu", "--out", "target")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-1] == "model: target/model"
    assert Path("target/model/model.safetensors").is_file()


@pytest.mark.usefixtures("here")
def test_unlearn_names_the_command_that_scores_it(efface: Command) -> None:
    ran = efface("unlearn", "mine.yaml", "method=ga+gd", "--out", "un learned")
    assert (ran.returncode, ran.stderr) == (0, "")
    model, following = ran.stdout.splitlines()[-2:]
    assert model == "model: un learned/model"
    assert following == (
        "next: efface evaluate 'un learned/config.yaml' 'model=un learned/model' --out 'un learned-scores'"
    )
    words = shlex.split(following)[2:]
    assert not Path("un learned/records").exists()
    scored = efface(*words)
    assert (scored.returncode, scored.stderr) == (0, "")
    assert {path.name for path in Path("un learned-scores/records").iterdir()} == {"forget.jsonl", "retain.jsonl"}
    assert "scores: un learned-scores/scores.json" in scored.stdout.splitlines()
    assert "Metrics by set" in scored.stdout


@pytest.mark.usefixtures("here")
def test_unlearn_that_keeps_own_answers_can_be_scored_by_the_command_it_names(efface: Command) -> None:
    settings = ["data.forget=forget.jsonl", "data.retain=model-answers", "data.generic_questions=20", "method=ga+gd"]
    others = [f"model={MODEL}", "text.format=plain", "train.epochs=1", "evaluate.max_new_tokens=8", "device=cpu"]
    judges = ["evaluate.embedder=none", "evaluate.judge=none"]
    ran = efface("unlearn", *settings, *others, *judges, "--out", "own")
    assert ran.returncode == 0, ran
    following = ran.stdout.splitlines()[-1].removeprefix("next: efface ").split()
    assert "data.retain=own/model_answers.jsonl" in following
    assert efface(*following).returncode == 0


@pytest.mark.usefixtures("here")
def test_evaluate_compares_with_the_model_before(efface: Command, finished: tuple[Path, str]) -> None:
    out, _ = finished
    arguments = ["evaluate", "mine.yaml", f"model={out / 'model'}", "evaluate.limit=2", "definition=paper"]
    for place in (out, out / "records", out / "records" / "before"):
        ran = efface(*arguments, "--before", str(place), "--out", f"compared-{place.name}")
        assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(Path("compared-out/scores.json").read_text())["definition"] == "paper"
    again = efface(*arguments, "--before", "compared-out", "--out", "compared-again")  # of an evaluation
    assert again.returncode == 0


@pytest.mark.usefixtures("here")
def test_before_without_records_is_refused(efface: Command, finished: tuple[Path, str]) -> None:
    out, _ = finished
    sentences = {
        "nowhere": "--before: there is no folder nowhere; give a run's or an evaluation's",
        str(out / "model"): "holds no records of a model before unlearning",
    }
    for place, sentence in sentences.items():
        ran = efface("evaluate", "mine.yaml", "--before", place, "--out", "refused")
        assert ran.returncode == 2
        assert sentence in ran.stderr
    Path("unscored").mkdir()
    for name in ("manifest.json", "metrics.jsonl"):  # what `efface unlearn` leaves
        Path("unscored", name).write_text("{}\n")
    ran = efface("evaluate", "mine.yaml", "--before", "unscored", "--out", "refused-too")
    assert "unscored holds no records of a model before unlearning" in ran.stderr
    assert not Path("refused-too").exists()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", ["run", "unlearn", "finetune"])
def test_interrupted_training_goes_on(efface: Command, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
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
    assert (ran.returncode, ran.stderr) == (130, "efface: interrupted; go on with --resume\n")
    again = efface(command, *settings, "--out", f"stopped-{command}", "--resume")
    assert (again.returncode, again.stderr) == (0, "")
    assert Path(f"stopped-{command}/model/model.safetensors").is_file()


# Dry runs


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (
            ["run", "mine.yaml", "method=ga+gd"],
            [
                "data: files: 4 to forget, 5 to keep",
                "method: ga+gd, all weights: 90,864 parameters are trained",
                "steps: 2 (0 of them warm-up) of 2 items, 1 epoch(s); learning rate 1e-05, float32",
                "scored: forget 4, retain 5",
                "missing: cosine_similarity: switched off by evaluate.embedder=none",
                "missing: entailment: switched off by evaluate.judge=none",
            ],
        ),
        (
            ["unlearn", "mine.yaml", "method=ga+gd", "train.lora=true"],
            ["method: ga+gd, adapters: ", "data: files: 4 to forget, 5 to keep"],
        ),
        (
            ["finetune", "data.forget=forget.jsonl", "data.retain=retain.jsonl", f"model={MODEL}", "text.format=plain"],
            ["data: 9 to learn", "method: fine-tuning, all weights: 90,864 parameters are trained"],
        ),
        (["evaluate", "mine.yaml", "evaluate.limit=3"], ["scored: forget 3, retain 3", "out: planned: "]),
    ],
)
def test_dry_run_tells_the_plan_and_leaves_nothing(
    efface: Command, here: Path, arguments: list[str], facts: list[str]
) -> None:
    before = sorted(here.rglob("*"))
    ran = efface(*arguments, "--out", "planned", "--dry-run")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert sorted(here.rglob("*")) == before
    lines = ran.stdout.splitlines()
    assert "Dry run: nothing was trained or written" in lines
    assert [fact for fact in facts if not any(line.strip().startswith(fact) for line in lines)] == []
