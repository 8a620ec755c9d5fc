"""`efface leaderboard`: rankings and differences."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.answered import answered, write_run
from support.messages import assert_names

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for number in (2, 3):
        write_run(tmp_path / f"run{number}", answered(1), answered(number))
    return tmp_path


def test_a_folder_is_ranked(efface: Command, runs: Path) -> None:
    ran = efface("leaderboard", str(runs), "--draws", "100", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)
    assert (found["schema"], found["level"], found["draws"]) == (1, 0.95, 100)
    (board,) = found["boards"]
    assert [row["rank"] for row in board["rows"]] == [1, 2, 3]
    assert {row["name"] for row in board["rows"]} == {"run2", "run3", "before unlearning"}
    assert set(board["rows"][0]["sets"]["retain"]["rouge"]) == {"value", "low", "high"}
    shown = efface("leaderboard", str(runs), "--draws", "100")
    assert shown.returncode == 0
    assert "Leaderboard (closer-look)" in shown.stdout
    names = [row["name"] for row in board["rows"] if row["kind"] == "run"]
    assert shown.stdout.endswith(f"next: efface report {' '.join(str(runs / name) for name in names)}\n")
    other = efface("leaderboard", str(runs), "--definition", "paper", "--format", "csv")
    assert other.stdout.startswith("board,rank,rank_best,rank_worst,name")
    assert other.stdout.count("\n") == 4


def test_differences(efface: Command, runs: Path) -> None:
    arguments = ("leaderboard", str(runs / "run2"), str(runs / "run3"), "--differences")
    found = json.loads(efface(*arguments, "--json").stdout)
    assert (found["first"], found["second"]) == (str(runs / "run2"), str(runs / "run3"))
    assert len(found["questions"]) == 28
    assert "Questions that changed most" in efface(*arguments).stdout
    assert efface(*arguments, "--format", "latex").stdout.startswith("\\begin{tabular}")
    assert "run2 (before)" in efface("leaderboard", str(runs / "run2"), "--differences").stdout


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([], ["run", "eval log"]),
        (["--json", "--format", "csv"], ["--json", "--format"]),
        (["--definition", "tofuu"], ["'tofuu'", "'tofu'"]),
        (["--draws", "5"], ["--draws", "100"]),
        (["--differences"], ["0"]),
    ],
)
def test_refused(efface: Command, tmp_path: Path, arguments: list[str], parts: list[str]) -> None:
    ran = efface("leaderboard", str(tmp_path), *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.count("\n") == 1
    assert_names(ran.stderr, *parts)
