"""`efface finetune`: a base model and data -> a model that knows the data, to unlearn from or to compare with."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from efface.cli.common import options
from efface.cli.common.dry_run import show_dry_run

app = typer.Typer()


@app.command(
    epilog=options.examples(
        "efface finetune tofu-forget01 model=path/to/base train.lr=1e-4 --out runs/target",
        "efface finetune tofu-forget05 model=path/to/base --without forget05 --out runs/retrained",
        "efface finetune real-world model=path/to/base --out runs/target --dry-run",
    )
)
def finetune(
    out: options.Out,
    settings: options.Settings = None,
    *,
    without: Annotated[
        str | None,
        typer.Option(
            metavar="forget|SPLIT",
            show_default=False,
            help="Leave out the forget set: `forget` for that of the data, or forget01, forget05 or forget10. The "
            "model never sees it, so unlearned models can be compared with it.",
        ),
    ] = None,
    data_dir: options.DataDir = None,
    resume: options.Resume = False,
    dry_run: options.DryRun = False,
) -> None:
    """Fine-tune a target model on all of the data.

    The forget set is part of it, except with --without.
    """
    from efface.config.commands import FinetuneConfig
    from efface.config.resolve import resolve_config

    source, pairs = options.source_and_pairs(settings)
    config = resolve_config(FinetuneConfig, source, pairs if without is None else [*pairs, f"without={without}"])
    if dry_run:
        from efface.preflight.dry_run import plan_finetuning

        show_dry_run(partial(plan_finetuning, config, out, data_dir=data_dir, resume=resume))
        return
    with options.interruptible(options.RESUME_REMEDY):
        from rich.console import Console

        from efface.commands.finetune import finetune as run_finetune
        from efface.progress.console import ConsoleReporter

        with ConsoleReporter(Console()) as reporter:
            model = run_finetune(config, out, data_dir=data_dir, resume=resume, reporter=reporter)
    typer.echo(f"model: {model}")
