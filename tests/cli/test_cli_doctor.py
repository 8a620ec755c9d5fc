"""The command doctor: what it prints, as JSON, and its exit code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _a_hub_of_its_own(hub: Any, place: Path) -> None:
    """No test asks the real one, and all are in a working directory with settings that are right."""


def test_without_a_run(efface: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    ran = efface("doctor")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "  hub token: set\n" in ran.stdout
    assert "  ok      hub: can be reached\n" in ran.stdout
    assert "fetch it with: efface data fetch tofu" in ran.stdout
    assert "hf_secret" not in ran.stdout
    assert "Memory and disk" not in ran.stdout


def test_a_run_that_can_start(efface: Command, place: Path) -> None:
    before = sorted(place.rglob("*"))
    ran = efface("doctor", "mine.yaml", "--steps", "1")
    assert ran.returncode == 0
    assert sorted(place.rglob("*")) == before
    for part in (
        "  in training: about ",
        ", measured ",
        "Training options",
        "Time, from 1 step\n",
        "  total: at most ",
    ):
        assert part in ran.stdout
    assert "measuring steps" in ran.stderr


def test_json_is_all_there_is_on_stdout(efface: Command) -> None:
    ran = efface("doctor", "mine.yaml", "--steps", "1", "--json")
    found = json.loads(ran.stdout)
    assert (ran.returncode, found["schema"]) == (0, 1)
    planned, measured = found["forecast"], found["measured"]
    parts = ("weights", "gradients", "optimizer", "copies", "reference", "activations", "logits")
    assert planned["training"] == sum(planned[part] for part in parts)
    assert measured["steps"]["count"] == 1
    assert found["times"]["total"] > 0
    assert {each["level"] for each in found["findings"]} == {"ok"}


def test_what_stops_a_run(refused: Callable[..., str], efface: Command) -> None:
    sentence = refused("doctor", "mine.yaml", "model=./nowhere")
    why = "there is no folder ./nowhere; give the folder of a model as model=FOLDER"
    assert sentence == f"this run cannot start: {why}"
    assert f"  problem model: {why}\n" in efface("doctor", "mine.yaml", "model=./nowhere").stdout
    both = refused("doctor", "mine.yaml", "model=./nowhere", "data.forget=gone.jsonl", "--json")
    assert both == "this run cannot start: there is no file gone.jsonl; check the path (1 more above)"


@pytest.mark.parametrize("arguments", [("methd=me",), ("mine.yaml", "train.lr=fast"), ("mine.yaml", "--steps", "-1")])
def test_what_is_no_setting_is_refused_as_everywhere(efface: Command, arguments: tuple[str, ...]) -> None:
    ran = efface("doctor", *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("efface: ")
    assert ran.stderr.count("\n") == 1
    assert "this run cannot start" not in ran.stderr
