"""Boards in the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from efface.report.terminal.leaderboard import format_method, format_rank, print_leaderboard
from efface.scores.leaderboard.discover import UnreadableSource
from efface.scores.leaderboard.leaderboard import Leaderboard, leaderboard
from efface.scores.leaderboard.ranking import RankedModel


def printed(ranking: Leaderboard) -> str:
    console = Console(width=80, color_system=None)
    with console.capture() as captured:
        print_leaderboard(console, ranking)
    text = captured.get()
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    return text


def test_boards_one_after_another(ranking: Leaderboard) -> None:
    text = printed(ranking)
    assert text.index("run2") < text.index("Separate, because other has 9 questions and not 7 on retain")
    for row in (row for board in ranking.boards for row in board.rows):
        assert row.harmonic_mean is not None
        assert f"{row.harmonic_mean.value:.3f}" in text
        assert f"{row.harmonic_mean.low:.3f}-{row.harmonic_mean.high:.3f}" in text
    assert [row.ranks for row in ranking.boards[0].rows] == [(1, 3), (1, 3), (1, 3)]
    assert text.count(" 1-3 ") == 3
    assert text.count("*") == 1 + sum(row.pareto_optimal for board in ranking.boards for row in board.rows)
    assert "Questions: retain 7, real_authors 7, world_facts 7, forget 7." in text
    assert "95% intervals from 100 resamples" in text
    assert "Partial" not in text
    assert "No ranks" not in text
    assert f"token_entropy of {ranking.boards[0].rows[0].name}" in text  # its records are those of an earlier version


def test_no_ranks_without_both_aggregates(scored_runs: Path) -> None:
    ranking = leaderboard([scored_runs], definition="tofu", draws=100)
    assert "No ranks: utility and efficacy cannot both be computed (tofu)." in printed(ranking)


def test_unreadable_sources_are_listed_up_to_ten(ranking: Leaderboard) -> None:
    unread = [UnreadableSource(path=f"a{number}", reason="\x1b[2J[red]=1+1[/red]") for number in range(12)]
    text = printed(ranking.model_copy(update={"unread": unread}))
    assert "not read: a9: [2J[red]=1+1[/red]" in text
    assert "a10" not in text
    assert "not read: 2 more, listed by --json" in text


@pytest.mark.parametrize(
    ("rank", "ranks", "optimal", "text"),
    [(1, (1, 3), True, "1*; 1-3"), (2, (2, 2), False, "2"), (None, None, True, "-*"), (None, None, False, "-")],
)
def test_ranks(rank: int | None, ranks: tuple[int, int] | None, optimal: bool, text: str) -> None:
    row = RankedModel.model_construct(rank=rank, ranks=ranks, pareto_optimal=optimal)
    assert format_rank(row, "; ") == text


@pytest.mark.parametrize(
    ("kind", "method", "text"),
    [("run", "me+gd", "ME+GD"), ("queue", "npo", "NPO (queue)"), ("evaluation", None, "evaluation")],
)
def test_methods(kind: str, method: str | None, text: str) -> None:
    assert format_method(RankedModel.model_construct(kind=kind, method=method)) == text
