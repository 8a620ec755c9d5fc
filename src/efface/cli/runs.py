"""Commands that train or question a model: run, finetune, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from efface.cli.arguments import DataDir, Out, Resume, Settings, examples, source_and_pairs

app = typer.Typer()


@app.command(
    epilog=examples(
        "efface run tofu-forget01 method=me+gd model=path/to/model --out runs/first",
        "efface run tofu-forget05 recipe=published method=idk+ap model=path/to/model --out runs/second",
        "efface run mine.yaml seed=1 --out runs/third",
    )
)
def run(out: Out, settings: Settings = None, data_dir: DataDir = None, resume: Resume = False) -> None:
    """Unlearn, and evaluate before and after."""
    from efface.presets import run_config

    config = run_config(*source_and_pairs(settings))
    from rich.console import Console

    from efface.report.tables import print_results
    from efface.run.console import ConsoleReporter
    from efface.run.pipeline import run as run_pipeline

    console = Console()
    with ConsoleReporter(console) as reporter:
        results = run_pipeline(config, out, data_dir=data_dir, resume=resume, reporter=reporter)
    print_results(console, {config.method: results})
    typer.echo(f"model: {out / 'model'}\nscores: {out / 'results.json'}")


@app.command(epilog=examples("efface finetune tofu-forget01 model=path/to/base train.lr=1e-4 --out runs/target"))
def finetune(out: Out, settings: Settings = None, data_dir: DataDir = None, resume: Resume = False) -> None:
    """Make a target model: fine-tune on everything the data holds."""
    from efface.presets import finetune_config

    config = finetune_config(*source_and_pairs(settings))
    from rich.console import Console

    from efface.run.console import ConsoleReporter
    from efface.run.finetune import finetune as run_finetune

    with ConsoleReporter(Console()) as reporter:
        model = run_finetune(config, out, data_dir=data_dir, resume=resume, reporter=reporter)
    typer.echo(f"model: {model}")


@app.command(epilog=examples("efface demo --seed 3 --out runs/third-demo"))
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the demo's run folders go.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[
        int, typer.Option(metavar="N", help="Decides authors, weights and training.", min=0, max=2**32 - 1)
    ] = 0,
) -> None:
    """Show unlearning end to end, in minutes.

    A small model learns invented authors and forgets some of them, by the paper's two methods and two baselines.
    """
    from efface.demo import run_demo

    run_demo(out, seed=seed)
