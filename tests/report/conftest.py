"""Runs to rank and to compare."""

from __future__ import annotations

from pathlib import Path

import pytest

from efface.scores.leaderboard.leaderboard import Leaderboard, leaderboard
from support.answered import answered, write_run

HOSTILE = "\x1b[2J[red]=1+1[/red]"


@pytest.fixture(scope="session")
def scored_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that can be compared, and `other`, which has more questions and hostile outputs."""
    root = tmp_path_factory.mktemp("runs")
    for number in (2, 3):
        write_run(root / f"run{number}", answered(1), answered(number), HOSTILE)
    write_run(root / "other", answered(1, 9, output=HOSTILE), answered(2, 9, output=HOSTILE), "me")
    return root


@pytest.fixture(scope="session")
def ranking(scored_runs: Path) -> Leaderboard:
    """Two boards: the runs that can be compared, and `other`."""
    return leaderboard([scored_runs], draws=100)
