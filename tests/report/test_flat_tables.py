"""Boards and differences as flat tables."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from efface.report.flat_tables import flat_differences, flat_leaderboard
from efface.scores.leaderboard.leaderboard import Leaderboard, compare
from efface.scores.verdict import judge_records, verdict
from support.reports import correct, records, wrong


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


def test_verdicts_in_csv_and_markdown(ranking: Leaderboard) -> None:
    before = records(forget=(8, correct), retain=(5, correct))
    after = records(
        forget=(8, lambda number: correct(number) if number == 1 else wrong(number)),
        retain=(5, lambda number: wrong(number) if number == 1 else correct(number)),
    )
    found = verdict(judge_records(before), judge_records(after))
    rows = [ranking.boards[0].rows[0].model_copy(update={"verdict": found}), *ranking.boards[0].rows[1:]]
    changed = ranking.model_copy(update={"boards": [ranking.boards[0].model_copy(update={"rows": rows})]})
    first, second, *_ = csv.DictReader(io.StringIO(flat_leaderboard("csv", changed)))
    columns = ("forgot", "leaks", "still_likely", "kept", "kept_of")
    assert [first[each] for each in columns] == ["partly", "1", "0", "4", "5"]
    assert [second[each] for each in columns] == [""] * 5
    assert "| in part, 1/8 leak | kept 4/5 |" in flat_leaderboard("markdown", changed)


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
