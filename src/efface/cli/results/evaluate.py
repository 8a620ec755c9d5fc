"""`efface evaluate`: a model and questions -> records and scores."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from efface.cli.common import options
from efface.cli.common.dry_run import show_dry_run
from efface.files.folders import RunPaths

app = typer.Typer()


@app.command(
    epilog=options.examples(
        "efface evaluate tofu-forget01 model=path/to/model --out runs/scores",
        "efface evaluate runs/first/config.yaml model=path/to/other --before runs/first --out runs/other-scores",
        "efface evaluate data.forget=forget.csv data.retain=retain.csv model=path/to/model --out runs/custom-scores",
    )
)
def evaluate(
    out: options.Out,
    settings: options.Settings = None,
    *,
    before: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A run, or an evaluation of the model before unlearning, whose outputs the definition `paper` "
            "compares with. Default: this model is its own baseline.",
        ),
    ] = None,
    data_dir: options.DataDir = None,
    resume: options.Resume = False,
    dry_run: options.DryRun = False,
) -> None:
    """Evaluate one model as it is.

    Takes the settings of a run; training settings of a preset or file are ignored.
    """
    from efface.config.commands import EvaluationConfig
    from efface.config.resolve import resolve_config

    config = resolve_config(EvaluationConfig, *options.source_and_pairs(settings))
    with options.interruptible(options.RESUME_REMEDY):
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
            scores = evaluate_model(config, out, data_dir=data_dir, before=records, resume=resume, reporter=reporter)
        print_scores(console, {"definition": config.definition, **scores.model_dump()})
    typer.echo(f"records: {RunPaths(out).records_root}\nscores: {RunPaths(out).scores}")
