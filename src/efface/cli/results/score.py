"""`efface score`: the records of a run, or an eval log -> scores."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from efface.cli.common import completion
from efface.cli.common.options import Json, examples, print_message
from efface.errors import EffaceError

if TYPE_CHECKING:
    from efface.scores.custom import RecordMetric

app = typer.Typer()


@app.command(
    epilog=examples(
        "efface score runs/first --definition tofu",
        "efface score eval_log_aggregated.json --against retrained.json --json",
        "efface score TOFU_EVAL.json --definition open-unlearning",
        "efface score runs/retrained --hallucinations",
        "efface score runs/first --plugin metrics.py",
    )
)
def score(
    log: Annotated[
        Path,
        typer.Argument(
            metavar="LOG",
            show_default=False,
            help="The folder of a run or an evaluation, or an eval log of other code: TOFU's format (LOG.json), or "
            "TOFU_EVAL.json, MUSE_EVAL.json and their SUMMARY of open-unlearning.",
        ),
    ],
    *,
    definition: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="closer-look, paper, tofu or open-unlearning.",
            autocompletion=completion.definitions,
        ),
    ] = "closer-look",
    against: Annotated[
        Path | None,
        typer.Option(metavar="LOG", help="LOG of a model retrained without the forget set: adds the forget quality."),
    ] = None,
    stage: Annotated[
        Literal["before", "after"], typer.Option(help="Which records of a run: before or after unlearning.")
    ] = "after",
    hallucinations: Annotated[
        bool,
        typer.Option(
            "--hallucinations",
            help="Count the answers to the forget set of a model that never saw it: made up, correct, declined or "
            "empty.",
        ),
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Custom metrics: path/to/file.py or package.module, which is executed. All its metrics are used, or "
            "one with :Class at the end. May be repeated.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score records or an eval log; no model is needed."""
    from efface.data.sources.refusals import load_refusals
    from efface.scores import score_path

    refusals = load_refusals() if hallucinations else None
    metrics: tuple[RecordMetric, ...] = ()
    if plugin:
        from efface.config.plugins import custom_metrics, load_plugins

        metrics = custom_metrics(load_plugins(plugin))
        if not metrics:
            raise EffaceError(f"--plugin {plugin[0]} has no metric; define a subclass of efface.RecordMetric in it")
    with warnings.catch_warnings(record=True) as caught:
        scores = score_path(
            log, definition=definition, against=against, stage=stage, metrics=metrics, refusals=refusals
        )
    for warning in caught:
        print_message(f"warning: {warning.message}")
    if as_json:
        typer.echo(json.dumps(scores, indent=2, allow_nan=False))
        return
    from rich.console import Console

    from efface.report.terminal.results import print_scores

    print_scores(Console(), scores)
