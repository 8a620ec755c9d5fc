"""Commands that read what runs left: score."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer

from efface.cli.arguments import examples, say

app = typer.Typer()


@app.command(
    epilog=examples(
        "efface score runs/first --definition tofu",
        "efface score eval_log_aggregated.json --against retrained.json --json",
    )
)
def score(
    log: Annotated[
        Path,
        typer.Argument(
            metavar="LOG", show_default=False, help="A run's folder, or an eval log in TOFU's format (LOG.json)."
        ),
    ],
    definition: Annotated[
        str, typer.Option(metavar="NAME", help="closer-look, paper, tofu or open-unlearning.")
    ] = "closer-look",
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="LOG", help="The same of a model retrained without the forget set: adds the forget quality."
        ),
    ] = None,
    stage: Annotated[
        Literal["before", "after"], typer.Option(help="Which records of a run: before or after unlearning.")
    ] = "after",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Score a run's records or a foreign eval log; no model is needed."""
    from efface.scores import score_path

    with warnings.catch_warnings(record=True) as caught:
        scores = score_path(log, definition=definition, against=against, stage=stage)
    for warning in caught:
        say(f"warning: {warning.message}")
    if as_json:
        typer.echo(json.dumps(scores, indent=2, allow_nan=False))
        return
    from rich.console import Console

    from efface.report.tables import print_scores

    print_scores(Console(), scores)
