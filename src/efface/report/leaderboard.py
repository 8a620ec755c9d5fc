"""The ranking of several models, in the terminal or as a table for a paper. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from efface.report.export import Cell, Format, flat_table
from efface.report.rich_tables import plain_table, print_line, shown_number
from efface.report.sanitize import one_line
from efface.scores.leaderboard.bootstrap import Interval
from efface.scores.leaderboard.leaderboard import Leaderboard
from efface.scores.leaderboard.ranking import Board, RankedModel

_AGGREGATES = {
    "model_utility": "Model\nutility",
    "forget_efficacy": "Forget\nefficacy",
    "harmonic_mean": "Harmonic\nmean",
}

_UNREAD = 10
"""So many are named."""


def print_leaderboard(console: Console, found: Leaderboard) -> None:
    """One table for each board, and what could not be read."""
    for board in found.boards:
        _print_board(console, board)
    print_line(
        console,
        "Ranked by the harmonic mean of utility and efficacy. *: on the Pareto front, where no other model has more of "
        "one and not less of the other.",
        style="dim",
    )
    print_line(
        console,
        f"Below the numbers: where {found.level:.0%} of {found.draws} resamples of the questions lie; below a rank: "
        "those of the models that cannot be told from this one.",
        style="dim",
    )
    for each in found.unread[:_UNREAD]:
        print_line(console, f"not read: {each.path}: {each.reason}", style="yellow")
    if len(found.unread) > _UNREAD:
        print_line(console, f"not read: {len(found.unread) - _UNREAD} more, which --json lists", style="yellow")


def flat_leaderboard(form: Format, found: Leaderboard) -> str:
    """The same rows as one table; in CSV, with the ends of the intervals in columns of their own."""
    if form == "csv":
        headings = ["board", "rank", "rank_best", "rank_worst", "name", "kind", "method", "pareto_front"]
        headings += [f"{name}{end}" for name in _AGGREGATES for end in ("", "_low", "_high")]
        rows = [_csv_row(number, row) for number, board in enumerate(found.boards, 1) for row in board.rows]
        return flat_table(form, headings, rows)
    headings = ["Rank", "Model", "Method", *(name.replace("\n", " ") for name in _AGGREGATES.values())]
    several = len(found.boards) > 1
    lines: list[list[Cell]] = []
    for number, board in enumerate(found.boards, 1):
        lines += [[*([number] if several else []), *_flat_row(row)] for row in board.rows]
    return flat_table(form, ["Board", *headings] if several else headings, lines)


def _print_board(console: Console, board: Board) -> None:
    if board.not_comparable_reason is not None:
        print_line(console, f"Apart, for {board.not_comparable_reason}:")
    kind = "Leaderboard" if board.partial is None else "Leaderboard, partial scores"
    table = plain_table(f"{kind} ({board.definition})", show_lines=True)
    table.add_column("Rank", justify="right")
    table.add_column("Model", overflow="fold")
    table.add_column("Method", overflow="fold")
    for heading in _AGGREGATES.values():
        table.add_column(heading, justify="right")
    for row in board.rows:
        name = Text(one_line(row.name), style="bold")
        cells = (_lines(getattr(row, aggregate)) for aggregate in _AGGREGATES)
        table.add_row(_rank(row, "\n"), name, Text(one_line(_method(row))), *cells)
    console.print(table)
    questions = ", ".join(f"{name} {n}" for name, n in board.questions.items())
    print_line(console, f"Questions: {questions}.", style="dim")
    if board.partial is not None:
        over = ", ".join(metric.replace("_", " ") for metric in board.partial) or "no metric"
        print_line(console, f"Partial: over {over} alone, which all sets of all models have.", style="yellow")
    if all(row.rank is None for row in board.rows):
        print_line(console, f"No ranks: utility and efficacy cannot both be had ({board.definition}).", style="yellow")


def _rank(row: RankedModel, between: str) -> str:
    """The rank, the star of the front, and the ranks that cannot be told apart."""
    mark = "*" if row.pareto_optimal else ""
    if row.rank is None or row.ranks is None:
        return f"-{mark}"
    best, worst = row.ranks
    return f"{row.rank}{mark}" + (f"{between}{best}-{worst}" if best < worst else "")


def _method(row: RankedModel) -> str:
    return row.kind if row.method is None else row.method.upper() + (" (queue)" if row.kind == "queue" else "")


def _lines(found: Interval | None) -> str:
    return shown_number(None) if found is None else f"{found.value:.3f}\n{found.low:.3f}-{found.high:.3f}"


def _flat_row(row: RankedModel) -> Sequence[Cell]:
    found = [getattr(row, aggregate) for aggregate in _AGGREGATES]
    intervals = ["-" if each is None else f"{each.value:.3f} ({each.low:.3f}-{each.high:.3f})" for each in found]
    return [_rank(row, "; "), row.name, _method(row), *intervals]


def _csv_row(number: int, row: RankedModel) -> Sequence[Cell]:
    best, worst = row.ranks or (None, None)
    cells: list[Cell] = [number, row.rank, best, worst, row.name, row.kind, row.method, str(row.pareto_optimal).lower()]
    for aggregate in _AGGREGATES:
        found = getattr(row, aggregate)
        cells += [None] * 3 if found is None else [found.value, found.low, found.high]
    return cells
