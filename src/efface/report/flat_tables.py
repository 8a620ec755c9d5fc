"""The leaderboard and the differences of two models as flat tables in Markdown, CSV or LaTeX. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from efface.report.export import Cell, Format, flat_table
from efface.report.terminal.differences import MAX_QUESTIONS
from efface.report.terminal.leaderboard import format_method, format_rank, shown_columns
from efface.report.verdict_text import short_forget, short_retain
from efface.scores.leaderboard.leaderboard import Differences, Leaderboard
from efface.scores.leaderboard.ranking import RankedModel


def flat_leaderboard(form: Format, ranking: Leaderboard) -> str:
    """Write the rows of all boards as one table.

    Args:
        form: In CSV, the bounds of the intervals have columns of their own.
        ranking: The boards; where there are several, the first column has the number of the board.

    Returns:
        The table, ending with a line break.
    """
    columns = shown_columns(ranking.boards)
    if form == "csv":
        headings = ["board", "rank", "rank_best", "rank_worst", "name", "kind", "method", "pareto_front"]
        headings += [f"{name}{bound}" for name in columns for bound in ("", "_low", "_high")]
        headings += ["forgot", "leaks", "still_likely", "kept", "kept_of"]
        sets = list(
            dict.fromkeys(name for board in ranking.boards for row in board.rows for name in row.extraction_strength)
        )
        headings += [f"extraction_strength_{name}" for name in sets]
        rows = [
            _csv_row(number, row, columns, sets) for number, board in enumerate(ranking.boards, 1) for row in board.rows
        ]
        return flat_table(form, headings, rows)
    names = [name.replace("-\n", "").replace("\n", " ") for name in columns.values()]
    headings = ["Rank", "Model", "Method", *names, "Forgot?", "Kept"]
    several = len(ranking.boards) > 1
    lines: list[list[Cell]] = []
    for number, board in enumerate(ranking.boards, 1):
        lines += [[*([number] if several else []), *_flat_row(row, columns)] for row in board.rows]
    return flat_table(form, ["Board", *headings] if several else headings, lines)


def flat_differences(form: Format, differences: Differences) -> str:
    """Write the questions that two models answer differently as one table.

    Args:
        form: In CSV, all questions; else those that changed most.
        differences: All questions, the largest change first.

    Returns:
        The table, ending with a line break.
    """
    first, second = differences.first, differences.second
    headings = differences_headings(first, second)
    rows: list[Sequence[Cell]] = [
        [
            *(each.set, each.id, each.question, each.answer, each.first.output, each.second.output),
            *(each.first.knows, each.second.knows, each.change),
        ]
        for each in differences.questions
    ]
    return flat_table(form, headings, rows if form == "csv" else rows[:MAX_QUESTIONS])


def differences_headings(first: str, second: str) -> list[str]:
    """The columns of `flat_differences`, by the names of the two models."""
    texts = ["Set", "Id", "Question", "Reference answer", f"Output: {first}", f"Output: {second}"]
    return [*texts, f"Known: {first}", f"Known: {second}", "Change"]


def _flat_row(row: RankedModel, columns: Iterable[str]) -> Sequence[Cell]:
    intervals = [getattr(row, column) for column in columns]
    cells = ["-" if each is None else f"{each.value:.3f} ({each.low:.3f}-{each.high:.3f})" for each in intervals]
    found = row.verdict
    short = ["-", "-"] if found is None else [short_forget(found.forget), short_retain(found.retain)]
    return [format_rank(row, "; "), row.name, format_method(row), *cells, *short]


def _csv_row(board: int, row: RankedModel, columns: Iterable[str], sets: Iterable[str]) -> Sequence[Cell]:
    """`sets`: of which the extraction strength is written."""
    best, worst = row.ranks or (None, None)
    cells: list[Cell] = [board, row.rank, best, worst, row.name, row.kind, row.method, str(row.pareto_optimal).lower()]
    for column in columns:
        interval = getattr(row, column)
        cells += [None] * 3 if interval is None else [interval.value, interval.low, interval.high]
    forget = None if row.verdict is None else row.verdict.forget
    retain = None if row.verdict is None else row.verdict.retain
    cells += [None] * 3 if forget is None else [forget.state, forget.leaks.count, forget.likely.count]
    cells += [None] * 2 if retain is None else [retain.kept.count, retain.kept.n]
    return [*cells, *(row.extraction_strength.get(name) for name in sets)]
