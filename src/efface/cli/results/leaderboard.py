"""`efface leaderboard`: runs and eval logs -> a ranking, or the differences of two."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from efface.cli.common import completion
from efface.cli.common.options import Json, examples
from efface.errors import EffaceError

if TYPE_CHECKING:
    from efface.scores.leaderboard.leaderboard import Leaderboard

app = typer.Typer()


@app.command(
    epilog=examples(
        "efface leaderboard runs",
        "efface leaderboard runs published/eval_log_aggregated.json --definition tofu --format markdown",
        "efface leaderboard runs/first runs/second --differences",
        "efface leaderboard runs/first --differences --format csv > changed.csv",
    )
)
def leaderboard(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...",
            show_default=False,
            help="Folders to search for runs, evaluations and eval logs in TOFU's format or of open-unlearning; or "
            "single ones of these.",
        ),
    ],
    *,
    definition: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="closer-look, paper, tofu or open-unlearning.", autocompletion=completion.definitions
        ),
    ] = "closer-look",
    differences: Annotated[
        bool,
        typer.Option(
            "--differences",
            help="Show the questions that changed most between two models, or before and after a single run.",
        ),
    ] = False,
    draws: Annotated[
        int,
        typer.Option(metavar="N", min=100, max=10_000, help="Bootstrap resamples for the intervals."),
    ] = 1000,
    form: Annotated[
        Literal["markdown", "csv", "latex"] | None,
        typer.Option("--format", help="Print one table in this format and nothing else."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Rank runs and eval logs; no model is needed.

    Shows confidence intervals and the Pareto front. Models with other questions or another judge are ranked in a
    separate table.
    """
    if as_json and form is not None:
        raise EffaceError("--json and --format exclude each other; use one of them")
    from rich.console import Console

    from efface.scores.leaderboard import leaderboard as scores

    if differences:
        from efface.report.flat_tables import flat_differences
        from efface.report.terminal.differences import print_differences

        differing = scores.compare(paths, definition=definition)
        if as_json:
            _print_json(differing.model_dump(by_alias=True))
        elif form is not None:
            typer.echo(flat_differences(form, differing), nl=False)
        else:
            print_differences(Console(), differing)
        return
    from efface.report.flat_tables import flat_leaderboard
    from efface.report.terminal.leaderboard import print_leaderboard

    ranking = scores.leaderboard(paths, definition=definition, draws=draws)
    if as_json:
        _print_json(ranking.model_dump(by_alias=True))
    elif form is not None:
        typer.echo(flat_leaderboard(form, ranking), nl=False)
    else:
        console = Console()
        print_leaderboard(console, ranking)
        console.print(f"next: {_next_command(paths, ranking)}", highlight=False, markup=False, soft_wrap=True)


def _next_command(paths: list[Path], ranking: Leaderboard) -> str:
    """A report on the best runs; without one, what makes a run."""
    from efface.report.sanitize import one_line

    roots = paths if len(paths) == 1 else []
    names = [row.name for row in ranking.boards[0].rows if row.kind in ("run", "queue")][:3]
    found = [root / name if (root / name).is_dir() else root for root in roots for name in names] or [
        Path(name) for name in names
    ]
    if not found:
        return "efface run tofu-forget01 method=me+gd model=path/to/model --out runs/first"
    return f"efface report {' '.join(shlex.quote(one_line(str(path))) for path in dict.fromkeys(found))}"


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, allow_nan=False))
