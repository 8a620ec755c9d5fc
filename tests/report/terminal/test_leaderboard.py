"""Boards and differences in a terminal and as flat tables."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from efface.report.flat_tables import flat_differences
from efface.report.terminal.differences import print_differences
from efface.report.flat_tables import flat_leaderboard
from efface.report.terminal.leaderboard import print_leaderboard
from efface.scores.leaderboard.discover import UnreadableSource
from efface.scores.leaderboard.leaderboard import Differences, Leaderboard, compare, leaderboard
from support.answered import answered, write_run

HOSTILE = "\x1b[2J[red]=1+1[/red]"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for number in (2, 3):
        write_run(root / f"run{number}", answered(1), answered(number), HOSTILE)
    write_run(root / "other", answered(1, 9, output=HOSTILE), answered(2, 9, output=HOSTILE), "me")
    return root


@pytest.fixture(scope="module")
def found(runs: Path) -> Leaderboard:
    return leaderboard([runs], draws=100)


def printed(show: object, found: Leaderboard | Differences) -> str:
    console = Console(width=80, color_system=None)
    with console.capture() as captured:
        show(console, found)  # type: ignore[operator]
    text = captured.get()
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    return text


def test_boards_one_after_another(found: Leaderboard) -> None:
    text = printed(print_leaderboard, found)
    assert text.index("run2") < text.index("Apart, for other has 9 questions and not 7 on retain, as run2:")
    for row in (row for board in found.boards for row in board.rows):
        assert row.harmonic_mean is not None
        assert f"{row.harmonic_mean.value:.3f}" in text
        assert f"{row.harmonic_mean.low:.3f}-{row.harmonic_mean.high:.3f}" in text
    assert [row.ranks for row in found.boards[0].rows] == [(1, 2), (1, 2)]
    assert text.count(" 1-2 ") == 2
    assert text.count("*") == 1 + sum(row.pareto_optimal for board in found.boards for row in board.rows)
    assert "Questions: retain 7, real_authors 7, world_facts 7, forget 7." in text
    assert "95% of 100 resamples" in text
    assert "Partial" not in text
    assert "No ranks" not in text


def test_what_a_reader_should_know(runs: Path) -> None:
    found = leaderboard([runs], definition="tofu", draws=100)
    assert "No ranks: utility and efficacy cannot both be had (tofu)." in printed(print_leaderboard, found)
    unread = [UnreadableSource(path=f"a{number}", reason=HOSTILE) for number in range(12)]
    text = printed(print_leaderboard, found.model_copy(update={"unread": unread}))
    assert "not read: a9: [2J[red]=1+1[/red]" in text
    assert "not read: 2 more, which --json lists" in text


def test_flat_boards(found: Leaderboard) -> None:
    rows = list(csv.DictReader(io.StringIO(flat_leaderboard("csv", found))))
    assert [(row["board"], row["rank"], row["name"]) for row in rows] == [
        ("1", "1", found.boards[0].rows[0].name),
        ("1", "2", found.boards[0].rows[1].name),
        ("2", "1", "other"),
    ]
    first = found.boards[0].rows[0]
    assert first.model_utility is not None
    assert float(rows[0]["model_utility_low"]) == first.model_utility.low
    assert rows[0]["pareto_front"] == "true"
    markdown = flat_leaderboard("markdown", found).splitlines()
    assert markdown[0].startswith("| Board | Rank | Model |")
    assert len(markdown) == 5
    (alone,) = found.boards[1:]
    assert flat_leaderboard("latex", found.model_copy(update={"boards": [alone]})).splitlines()[2].startswith("Rank &")


def test_differences(runs: Path) -> None:
    found = compare([runs / "run2", runs / "run3"])
    text = printed(print_differences, found)
    assert text.index("What is known, by set (closer-look)") < text.index("Questions that changed most")
    top = found.questions[0]
    assert f"{top.change:+.3f}" in text
    assert "28 of 28 questions changed, 20 are shown." in " ".join(text.split())
    rows = list(csv.DictReader(io.StringIO(flat_differences("csv", found))))
    assert len(rows) == 28
    assert float(rows[0]["Change"]) == top.change
    assert len(flat_differences("markdown", found).splitlines()) == 22


def test_hostile_answers(runs: Path) -> None:
    found = compare([runs / "other"])
    assert "[red]=1+1[/red]" in printed(print_differences, found).replace("\n", "")
