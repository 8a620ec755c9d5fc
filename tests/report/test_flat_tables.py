"""Boards and differences as flat tables."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from efface.report.flat_tables import flat_differences, flat_leaderboard
from efface.scores.leaderboard.leaderboard import Leaderboard, compare


def test_boards_in_csv(ranking: Leaderboard) -> None:
    rows = list(csv.DictReader(io.StringIO(flat_leaderboard("csv", ranking))))
    assert [(row["board"], row["rank"], row["name"]) for row in rows] == [
        (str(number), str(row.rank), row.name) for number, board in enumerate(ranking.boards, 1) for row in board.rows
    ]
    first = ranking.boards[0].rows[0]
    assert first.model_utility is not None
    assert float(rows[0]["model_utility_low"]) == first.model_utility.low
    assert rows[0]["pareto_front"] == "true"


def test_extraction_strength_in_csv_where_a_model_has_it(ranking: Leaderboard) -> None:
    assert "extraction_strength" not in flat_leaderboard("csv", ranking)
    board = ranking.boards[0]
    first = board.rows[0].model_copy(update={"extraction_strength": {"forget": 0.25}})
    boards = [board.model_copy(update={"rows": [first, *board.rows[1:]]}), *ranking.boards[1:]]
    changed = ranking.model_copy(update={"boards": boards})
    rows = list(csv.DictReader(io.StringIO(flat_leaderboard("csv", changed))))
    assert [row["extraction_strength_forget"] for row in rows] == ["0.25", *[""] * (len(rows) - 1)]


def test_the_number_of_a_board_is_given_where_there_are_several(ranking: Leaderboard) -> None:
    markdown = flat_leaderboard("markdown", ranking).splitlines()
    assert markdown[0].startswith("| Board | Rank | Model |")
    assert len(markdown) == 2 + sum(len(board.rows) for board in ranking.boards)
    one = ranking.model_copy(update={"boards": ranking.boards[1:]})
    assert flat_leaderboard("latex", one).splitlines()[2].startswith("Rank &")


def test_differences_are_complete_in_csv_only(scored_runs: Path) -> None:
    differences = compare([scored_runs / "run2", scored_runs / "run3"])
    rows = list(csv.DictReader(io.StringIO(flat_differences("csv", differences))))
    assert len(rows) == 28
    assert float(rows[0]["Change"]) == differences.questions[0].change
    assert len(flat_differences("markdown", differences).splitlines()) == 22
