"""The ranking of several models as tables in the terminal. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from efface.report.number_format import format_number
from efface.report.sanitize import one_line
from efface.report.terminal.rich_tables import empty_table, join_metrics, print_line
from efface.report.verdict_text import EFFICACY, short_forget, short_retain
from efface.scores.leaderboard.bootstrap import Interval
from efface.scores.leaderboard.leaderboard import Leaderboard
from efface.scores.leaderboard.ranking import Board, RankedModel

AGGREGATES = {
    "model_utility": "Model\nutility",
    "forget_efficacy": "Forget\nefficacy",
    "harmonic_mean": "Harmonic\nmean",
}
"""Field of `RankedModel` -> heading."""

_MAX_UNREAD = 10
"""How many unreadable sources are listed."""


def print_leaderboard(console: Console, ranking: Leaderboard) -> None:
    """Print one table per board, the legend, and what could not be read.

    Args:
        console: Where to print.
        ranking: The boards, the most important one first.
    """
    for board in ranking.boards:
        _print_board(console, board)
    print_line(
        console,
        "Ranked by the harmonic mean of utility and efficacy. *: on the Pareto front, where no other model has more of "
        "one and not less of the other.",
        style="dim",
    )
    print_line(console, f"{EFFICACY}.", style="dim")
    if any(row.verdict for board in ranking.boards for row in board.rows):
        print_line(
            console,
            "Below a model: how many questions to forget leak or are still likely, and how many others it kept of "
            "those that were answered correctly before; efface report has the rule.",
            style="dim",
        )
    print_line(
        console,
        f"Below the numbers: {ranking.level:.0%} intervals from {ranking.draws} resamples of the questions; below a "
        "rank: the ranks of the models that do not differ significantly from this one.",
        style="dim",
    )
    for each in ranking.unread[:_MAX_UNREAD]:
        print_line(console, f"not read: {each.path}: {each.reason}", style="yellow")
    if len(ranking.unread) > _MAX_UNREAD:
        print_line(console, f"not read: {len(ranking.unread) - _MAX_UNREAD} more, listed by --json", style="yellow")


def format_rank(row: RankedModel, separator: str) -> str:
    """Format a rank.

    Args:
        row: The ranked model.
        separator: Printed between the rank and the range of ranks.

    Returns:
        The rank, a star where the model is on the Pareto front, and the ranks of the models that do not differ
        significantly from it, such as `1* 1-3`; a dash for no rank.
    """
    star = "*" if row.pareto_optimal else ""
    if row.rank is None or row.ranks is None:
        return f"-{star}"
    best, worst = row.ranks
    return f"{row.rank}{star}" + (f"{separator}{best}-{worst}" if best < worst else "")


def format_method(row: RankedModel) -> str:
    """The method in capitals, with a note where it is a queue of requests; the type of source where there is none."""
    return row.kind if row.method is None else row.method.upper() + (" (queue)" if row.kind == "queue" else "")


def shown_columns(boards: Sequence[Board]) -> dict[str, str]:
    """The columns of intervals: the aggregates, and what audits brought back where a model has it.

    Args:
        boards: That are shown.

    Returns:
        Field of `RankedModel` -> heading.
    """
    audited = any(row.recoverable is not None for board in boards for row in board.rows)
    return AGGREGATES | ({"recoverable": "Recover-\nable"} if audited else {})


def _print_board(console: Console, board: Board) -> None:
    if board.not_comparable_reason is not None:
        print_line(console, f"Separate, because {board.not_comparable_reason}:")
    console.print(_board_table(board))
    questions = ", ".join(f"{name} {n}" for name, n in board.questions.items())
    print_line(console, f"Questions: {questions}.", style="dim")
    for note in _notes(board):
        print_line(console, note, style="yellow")


def _board_table(board: Board) -> Table:
    title = "Leaderboard" if board.partial is None else "Leaderboard, partial scores"
    table = empty_table(f"{title} ({board.definition})", show_lines=True)
    table.add_column("Rank", justify="right")
    table.add_column("Model", overflow="fold")
    table.add_column("Method", overflow="fold")
    columns = shown_columns([board])
    for heading in columns.values():
        table.add_column(heading, justify="right")
    for row in board.rows:
        name = Text(one_line(row.name), style="bold")
        if row.verdict is not None:
            forget, retain = short_forget(row.verdict.forget), short_retain(row.verdict.retain)
            name.append(f"\n{forget}; {retain}", style="dim")
        cells = (_format_interval(getattr(row, column)) for column in columns)
        table.add_row(format_rank(row, "\n"), name, Text(one_line(format_method(row))), *cells)
    return table


def _notes(board: Board) -> Iterator[str]:
    """What a reader must know about the numbers."""
    if board.partial is not None:
        yield f"Partial: over {join_metrics(board.partial)}, the metrics that all sets of all models have."
    if board.audits_differ:
        yield "What audits brought back is not shown: they tried different attacks, and more attacks only find more."
    for metric, note in board.notes.items():
        yield f"{metric} of {note}"
    if all(row.rank is None for row in board.rows):
        yield f"No ranks: utility and efficacy cannot both be computed ({board.definition})."


def _format_interval(interval: Interval | None) -> str:
    if interval is None:
        return format_number(None)
    return f"{interval.value:.3f}\n{interval.low:.3f}-{interval.high:.3f}"
