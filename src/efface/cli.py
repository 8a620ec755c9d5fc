"""The command `efface`. It parses, calls the library and turns an `EffaceError` into one sentence and exit code 2."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from efface import __version__
from efface.errors import EffaceError

app = typer.Typer(
    name="efface",
    help="Make a language model forget, and measure what it still knows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

Source = Annotated[str, typer.Argument(metavar="CONFIG_OR_PRESET", help="A YAML file, or a preset's name.")]
Pairs = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, e.g. train.lr=1e-5.")]
Out = Annotated[Path, typer.Option("--out", help="The run's folder; must be new or empty.", show_default=False)]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", envvar="EFFACE_DATA", help="A local copy of the benchmarks: tofu/ and real_world/."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a killed run of the same settings stopped.")]


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # noqa: ARG001
) -> None:
    """Take the options that stand before a command; `main` has taken --debug away before."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def run(source: Source, out: Out, pairs: Pairs = None, data_dir: DataDir = None, resume: Resume = False) -> None:
    """Unlearn, and evaluate before and after.

    Example: efface run tofu-forget01 method=me+gd model=path/to/model --out runs/first
    """
    from efface.presets import run_config

    config = run_config(source, pairs or [])
    from rich.console import Console

    from efface.report.tables import print_results
    from efface.run.console import ConsoleReporter
    from efface.run.pipeline import run as run_pipeline

    console = Console()
    with ConsoleReporter(console) as reporter:
        results = run_pipeline(config, out, data_dir=data_dir, resume=resume, reporter=reporter)
    print_results(console, {config.method: results})
    console.print(f"model: {out / 'model'}   scores: {out / 'results.json'}", highlight=False)


@app.command()
def finetune(source: Source, out: Out, pairs: Pairs = None, data_dir: DataDir = None, resume: Resume = False) -> None:
    """Make a target model: fine-tune on everything the data holds.

    Example: efface finetune tofu-forget01 model=path/to/base train.lr=1e-4 --out runs/target
    """
    from efface.presets import finetune_config

    config = finetune_config(source, pairs or [])
    from rich.console import Console

    from efface.run.console import ConsoleReporter
    from efface.run.finetune import finetune as run_finetune

    console = Console()
    with ConsoleReporter(console) as reporter:
        model = run_finetune(config, out, data_dir=data_dir, resume=resume, reporter=reporter)
    console.print(f"model: {model}", highlight=False)


@app.command()
def score(
    log: Annotated[Path, typer.Argument(metavar="LOG.json", help="An eval log in TOFU's format, or a run's folder.")],
    definition: Annotated[
        str, typer.Option(help="closer-look, paper, tofu or open-unlearning.", show_default=True)
    ] = "closer-look",
    against: Annotated[
        Path | None, typer.Option(help="The log of a model retrained without the forget set: adds forget quality.")
    ] = None,
    stage: Annotated[str, typer.Option(help="Which records of a run's folder: before or after.")] = "after",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Score records or a foreign eval log; no model is needed.

    Example: efface score eval_log_aggregated.json --definition tofu --json
    """
    from efface.scores import score_path

    scores = score_path(log, definition=definition, against=against, stage=stage)
    if as_json:
        typer.echo(json.dumps(scores, indent=2))
        return
    from rich.console import Console

    from efface.report.tables import print_scores

    print_scores(Console(), scores)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Where the demo's run folders go.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Decides authors, weights and training.", min=0)] = 0,
) -> None:
    """Show unlearning end to end in minutes: a small model learns invented authors and forgets some."""
    from efface.demo import run_demo

    run_demo(out, seed=seed)


def main() -> None:
    """Run the command; errors that the user can mend are one sentence on stderr and exit code 2."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(args=arguments)
    except (EffaceError, OSError) as error:
        if len(arguments) < len(sys.argv) - 1:
            raise
        typer.echo(f"efface: {error}", err=True)
        sys.exit(2)
