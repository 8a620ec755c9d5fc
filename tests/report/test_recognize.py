"""Files with questions and outputs are recognized by what they begin with, and a user's own are not."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from efface.report.export import Format
from efface.report.flat_tables import flat_differences, flat_leaderboard
from efface.report.page.html import render_page
from efface.report.page.load_run import load_report_run
from efface.report.page.paper_tables import render_csv, render_paper_tables
from efface.report.recognize import is_report
from efface.scores.leaderboard.leaderboard import Leaderboard, compare
from support.reports import write_example_run


def test_pages_and_the_csv_of_a_report(tmp_path: Path) -> None:
    runs = [load_report_run(write_example_run(tmp_path / name)) for name in ("one", "two")]
    page = render_page(runs, version="1").encode()
    assert is_report("any.HTM", page)
    assert not is_report("page.txt", page)  # `efface report` refuses that name
    assert is_report("any", render_csv(runs).encode())
    assert not is_report("any", render_paper_tables(runs, "markdown").encode())  # numbers only


@pytest.mark.parametrize("form", get_args(Format))
def test_differences_but_not_the_leaderboard(scored_runs: Path, ranking: Leaderboard, form: Format) -> None:
    differences = compare([scored_runs / "run2", scored_runs / "run3"])
    assert is_report("any", flat_differences(form, differences).encode())
    assert not is_report("any", flat_leaderboard(form, ranking).encode())


@pytest.mark.parametrize("text", ["", "question,answer\n", "run,method,definition\n", "| Set | Id | Question |\n"])
def test_files_of_a_user(text: str) -> None:
    assert not is_report("own.csv", text.encode())
