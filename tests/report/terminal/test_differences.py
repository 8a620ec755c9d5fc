"""The questions that two models answer differently, in the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from efface.report.terminal.differences import print_differences
from efface.scores.leaderboard.leaderboard import Differences, compare


def printed(differences: Differences) -> str:
    console = Console(width=80, color_system=None)
    with console.capture() as captured:
        print_differences(console, differences)
    text = captured.get()
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    return text


def test_sets_and_then_the_largest_changes(scored_runs: Path) -> None:
    differences = compare([scored_runs / "run2", scored_runs / "run3"])
    text = printed(differences)
    assert text.index("Known, by set (closer-look)") < text.index("Questions that changed most")
    assert f"{differences.questions[0].change:+.3f}" in text
    assert "28 of 28 questions changed, 20 are shown." in " ".join(text.split())


def test_hostile_outputs_are_text(scored_runs: Path) -> None:
    assert "[red]=1+1[/red]" in printed(compare([scored_runs / "other"])).replace("\n", "")
