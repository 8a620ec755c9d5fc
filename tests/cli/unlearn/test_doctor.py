"""`efface doctor`: what it prints, as text and as JSON, and its exit code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.messages import assert_names

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _local_hub(hub: Any, place: Path) -> None:
    """No test uses the real hub; all run in a working directory with valid settings."""


def test_without_a_run(efface: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    ran = efface("doctor")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "  hub token: set\n" in ran.stdout
    assert "  ok      hub: " in ran.stdout
    assert "efface data fetch tofu" in ran.stdout
    assert "hf_secret" not in ran.stdout
    assert "Memory and disk" not in ran.stdout


def test_a_run_that_can_start(efface: Command, place: Path) -> None:
    before = sorted(place.rglob("*"))
    ran = efface("doctor", "mine.yaml", "--steps", "1")
    assert ran.returncode == 0
    assert sorted(place.rglob("*")) == before
    assert_names(ran.stdout, "  in training: about ", ", measured ", "from 1 step\n")
    assert_names(ran.stderr, "measuring steps")


def test_json(efface: Command) -> None:
    ran = efface("doctor", "mine.yaml", "train.lr=1e-3", "--steps", "1", "--json")
    found = json.loads(ran.stdout)
    assert (ran.returncode, found["schema"]) == (0, 1)
    planned, measured = found["forecast"], found["measured"]
    parts = ("weights", "gradients", "optimizer", "copies", "reference", "activations", "logits")
    assert planned["training"] == sum(planned[part] for part in parts)
    assert measured["steps"]["count"] == 1
    assert found["times"]["total"] > 0
    assert {each["level"] for each in found["findings"]} == {"ok"}


def test_problems_of_a_run(refused: Callable[..., str], efface: Command) -> None:
    sentence = refused("doctor", "mine.yaml", "model=./nowhere")
    assert_names(sentence, "this run cannot start: ", "./nowhere", "model=FOLDER")
    problem = sentence.removeprefix("this run cannot start: ")
    assert f"  problem model: {problem}\n" in efface("doctor", "mine.yaml", "model=./nowhere").stdout
    both = refused("doctor", "mine.yaml", "model=./nowhere", "data.forget=gone.jsonl", "--json")
    assert_names(both, "this run cannot start: ", "gone.jsonl", "(1 more above)")


@pytest.mark.parametrize("arguments", [("methd=me",), ("mine.yaml", "train.lr=fast"), ("mine.yaml", "--steps", "-1")])
def test_wrong_settings_are_refused_as_by_a_run(efface: Command, arguments: tuple[str, ...]) -> None:
    ran = efface("doctor", *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("efface: ")
    assert ran.stderr.count("\n") == 1
    assert "this run cannot start" not in ran.stderr
