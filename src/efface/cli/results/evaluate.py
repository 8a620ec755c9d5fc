"""Commands that score: a model, or what a run left."""

from __future__ import annotations

import json
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from efface.cli.common import completion
from efface.cli.common.dry_run import show_dry_run
from efface.cli.common.options import (
    DataDir,
    DryRun,
    Json,
    Out,
    Settings,
    examples,
    interruptible,
    say,
    source_and_pairs,
)
from efface.errors import EffaceError
from efface.folders import RunPaths

if TYPE_CHECKING:
    from efface.scores.custom import RecordMetric

app = typer.Typer()


@app.command(
    epilog=examples(
        "efface evaluate tofu-forget01 model=path/to/model --out runs/scores",
        "efface evaluate runs/first/config.yaml model=path/to/other --before runs/first --out runs/other-scores",
        "efface evaluate data.forget=gone.csv data.retain=kept.csv model=path/to/model --out runs/own-scores",
    )
)
def evaluate(
    out: Out,
    settings: Settings = None,
    before: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A run, or an evaluation of the model before unlearning: the definition paper compares with its "
            "outputs. Without it, this model counts as that one.",
        ),
    ] = None,
    data_dir: DataDir = None,
    dry_run: DryRun = False,
) -> None:
    """Question one model as it is, and score it.

    Settings are those of a run; what a preset or a file says of training is passed over.
    """
    from efface.config.presets import evaluation_config

    config = evaluation_config(*source_and_pairs(settings))
    with interruptible("nothing was written; the same command starts anew"):
        from efface.commands.evaluate import evaluate_model, records_before

        records = None if before is None else records_before(before)
        if dry_run:
            from efface.preflight.dry_run import plan_evaluation

            show_dry_run(partial(plan_evaluation, config, out, data_dir=data_dir, before=records))
            return
        from rich.console import Console

        from efface.progress.console import ConsoleReporter
        from efface.report.terminal.results import print_scores

        console = Console()
        with ConsoleReporter(console) as reporter:
            scores = evaluate_model(config, out, data_dir=data_dir, before=records, reporter=reporter)
        print_scores(console, {"definition": config.definition, **scores.model_dump()})
    typer.echo(f"records: {RunPaths(out).records_root}\nscores: {RunPaths(out).scores}")


@app.command(
    epilog=examples(
        "efface score runs/first --definition tofu",
        "efface score eval_log_aggregated.json --against retrained.json --json",
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
            help="The folder of a run or an evaluation, or an eval log in TOFU's format (LOG.json).",
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
        typer.Option(
            metavar="LOG", help="The same of a model retrained without the forget set: adds the forget quality."
        ),
    ] = None,
    stage: Annotated[
        Literal["before", "after"], typer.Option(help="Which records of a run: before or after unlearning.")
    ] = "after",
    hallucinations: Annotated[
        bool,
        typer.Option(
            "--hallucinations",
            help="Count what is said to the forget set by a model that never saw it: made up, right, declined or "
            "nothing.",
        ),
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Python code with metrics of your own, which is run: path/to/file.py or package.module, all its "
            "metrics or, with :Class behind it, one; may be repeated.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score a run's records or a foreign eval log; no model is needed."""
    from efface.data.sources.refusals import load_refusals
    from efface.scores import score_path

    refusals = load_refusals() if hallucinations else None
    metrics: tuple[RecordMetric, ...] = ()
    if plugin:
        from efface.config.plugins import custom_metrics, load_plugins

        metrics = custom_metrics(load_plugins(plugin))
        if not metrics:
            raise EffaceError(f"--plugin {plugin[0]} holds no metric; derive a class in it from efface.RecordMetric")
    with warnings.catch_warnings(record=True) as caught:
        scores = score_path(
            log, definition=definition, against=against, stage=stage, metrics=metrics, refusals=refusals
        )
    for warning in caught:
        say(f"warning: {warning.message}")
    if as_json:
        typer.echo(json.dumps(scores, indent=2, allow_nan=False))
        return
    from rich.console import Console

    from efface.report.terminal.results import print_scores

    print_scores(Console(), scores)
