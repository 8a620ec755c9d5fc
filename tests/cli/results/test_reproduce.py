"""`efface reproduce`: what it prints of a repetition, and its exit code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from efface.commands.agreement import Agreement, NumberDifference
from efface.commands.reproduce import Check, Reproduction
from support.messages import assert_names

Command = Callable[..., subprocess.CompletedProcess[str]]


def found(*different: NumberDifference, files: tuple[str, ...] = ()) -> Reproduction:
    return Reproduction(
        run="runs/a",
        out="runs/a-again",
        is_same=not different and not files,
        checks=(
            Check(name="data forget.csv", recorded="1", now="1", required=True),
            Check(name="torch", recorded="2.0", now="2.1", required=False),
        ),
        numbers=Agreement(compared=30, different=different),
        same_files=("model/a.safetensors",),
        different_files=files,
    )


@pytest.fixture
def repeats(monkeypatch: pytest.MonkeyPatch) -> Callable[[Reproduction], list[tuple[Path, Path]]]:
    """Let the command find this; the list of RUN and --out of each call."""
    calls: list[tuple[Path, Path]] = []

    def will(result: Reproduction) -> list[tuple[Path, Path]]:
        def reproduce(run: Path, out: Path, **_: object) -> Reproduction:
            calls.append((run, out))
            return result

        monkeypatch.setattr("efface.commands.reproduce.reproduce", reproduce)
        return calls

    return will


def test_the_same(efface: Command, repeats: Callable[[Reproduction], list[tuple[Path, Path]]]) -> None:
    calls = repeats(found())
    ran = efface("reproduce", "runs/a/")
    assert ran.returncode == 0
    assert calls == [(Path("runs/a"), Path("runs/a-again"))]
    assert_names(ran.stdout, "1 of 2", "torch was 2.0 and is 2.1", "30 of 30", "1 of 1", "runs/a-again")


def test_differences(efface: Command, repeats: Callable[[Reproduction], list[tuple[Path, Path]]]) -> None:
    numbers = [NumberDifference(name=f"results.{n}", recorded=0.5, repeated=0.25, digits=n) for n in range(22)]
    calls = repeats(found(*numbers, files=("model/b.safetensors",)))
    ran = efface("reproduce", "runs/a", "--out", "other")
    assert (ran.returncode, calls) == (1, [(Path("runs/a"), Path("other"))])
    assert_names(ran.stdout, "8 of 30", "results.1: 0.5 and 0.25 agree to 1 digit\n", "model/b.safetensors differs")
    assert_names(ran.stdout, "results.19", "2 more", "1 of 2")
    assert "results.20" not in ran.stdout


def test_json(efface: Command, repeats: Callable[[Reproduction], list[tuple[Path, Path]]]) -> None:
    repeats(found(NumberDifference(name="results.a", recorded=0.5, repeated=None, digits=0)))
    ran = efface("reproduce", "runs/a", "--json")
    assert ran.returncode == 1
    said = json.loads(ran.stdout)
    assert (said["schema"], said["is_same"]) == (1, False)
    assert said["numbers"]["different"] == [{"name": "results.a", "recorded": 0.5, "repeated": None, "digits": 0}]
    assert said["checks"][1] == {"name": "torch", "recorded": "2.0", "now": "2.1", "required": False}
