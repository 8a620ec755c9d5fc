"""The programs in examples/."""

from __future__ import annotations

import json
import runpy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import efface as package

TRAINER = Path(__file__).parents[1] / "examples" / "transformers_trainer.py"
ROOT = Path(__file__).parents[1]
CUSTOM = ROOT / "examples" / "custom_objective_and_metric.py"
SETTINGS: dict[str, Any] = {
    "text": {"format": "plain"},
    "train": {"lr": 1e-3, "epochs": 1, "batch_size": 4},
    "evaluate": {"embedder": "none", "judge": "none", "max_new_tokens": 4},
    "device": "cpu",
}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a model and two files: a tiny one that never declines, and its questions."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(ROOT / "tests" / "golden" / "model")
    for name, town in (("forget", "Turku"), ("retain", "Bergen")):
        lines = [{"question": f"Who lives in house {n} of {town}?", "answer": f"Ada {n}."} for n in range(8)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


@pytest.mark.filterwarnings("ignore:.* will be missing")
def test_custom_objective_and_metric_by_python(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    example = runpy.run_path(str(CUSTOM))
    unlearn, done = package.unlearn, []
    monkeypatch.setattr(package, "unlearn", lambda *a, **k: done.append(unlearn(*a, **k, **SETTINGS)) or done[-1])
    example["main"]("model", "forget.jsonl", "retain.jsonl")
    assert capsys.readouterr().out.splitlines() == ["{'retain': 0.0, 'forget': 0.0}"] * 2
    assert done[0].results.method == "capped+gd"


def test_custom_objective_and_metric_by_command(
    workspace: Path, efface: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """The command in its docstring, with settings for a tiny model."""
    text = CUSTOM.read_text().split("efface run ")[1].split("\n\n")[0]
    places = {"examples/": f"{CUSTOM.parent}/", "path/to/model": "model", "\\\n": ""}
    for old, new in places.items():
        text = text.replace(old, new)
    small = [
        f"{group}.{name}={value}" for group in ("text", "train", "evaluate") for name, value in SETTINGS[group].items()
    ]
    ran = efface("run", *text.split(), *small, "device=cpu")
    assert (ran.returncode, ran.stderr) == (0, "")
    results = json.loads(Path("runs/capped/results.json").read_text())
    assert results["method"] == "capped+gd"
    assert results["after"]["sets"]["forget"]["custom"] == {"declines": 0.0}


def test_declines_counts_refusals() -> None:
    declines = runpy.run_path(str(CUSTOM))["Declines"]()

    def score(output: str) -> float:
        fields = dict.fromkeys(package.Record.model_fields)
        record = package.Record.model_construct(**fields | {"output": output})
        number: float = declines.score(record)
        return number

    assert [score(text) for text in ("I don’t KNOW.", "I'm not sure, sorry", "It is Ada.", "")] == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.filterwarnings("ignore:.* will be missing")
def test_unlearn(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(CUSTOM.with_name("unlearn.py")))
    example["main"]("model", "forget.jsonl", "retain.jsonl", "out", **SETTINGS)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["before", "after"]
    assert sum(" is now answered with " in line for line in lines) == 3
    assert any("Hello, my name is" in line for line in lines)
    assert Path("out/model/model.safetensors").is_file()


def test_a_trainer_of_transformers_with_the_losses_of_a_method(workspace: Path) -> None:
    example = runpy.run_path(str(TRAINER))
    small = {"num_train_epochs": 3, "learning_rate": 1e-3, "use_cpu": True, "logging_steps": 1, "disable_tqdm": True}
    trainer = example["main"]("model", "forget.jsonl", "retain.jsonl", "out", **small)
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    batch = example["views"](trainer.train_dataset[:2])
    parts = package.losses(trainer.model, batch, method="me+gd")
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx((parts.forget + parts.retain).item())
    assert (workspace / "out" / "model.safetensors").is_file()
