"""The command `efface`. It parses, calls the library and turns an `EffaceError` into one sentence and exit code 2."""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, Literal

import typer

from efface import __version__
from efface.errors import EffaceError

app = typer.Typer(
    name="efface",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _examples(*lines: str) -> str:
    """For the end of a command's help, one a line."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


Source = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG_OR_PRESET",
        show_default=False,
        help="A YAML file (paths in it start from the working directory) or a preset: demo, real-world, "
        "tofu-forget01, tofu-forget05 or tofu-forget10.",
    ),
]
Pairs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE",
        show_default=False,
        help="Settings over those of the file or preset, such as train.lr=2e-5; the later wins. A run's config.yaml "
        "names them all.",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The run's folder; new or empty.", show_default=False)]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        envvar="EFFACE_DATA",
        help="A local copy of the benchmarks, with tofu/ and real_world/ in it.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a run of the same settings was stopped.")]


@app.callback(
    invoke_without_command=True,
    epilog=_examples(
        "efface demo",
        "efface run tofu-forget01 method=me+gd model=path/to/model --out runs/first",
        "efface score runs/first --json",
    ),
)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[  # noqa: ARG001 - `main` has taken it away before
        bool, typer.Option("--debug", help="Show the traceback of an error; goes anywhere on the line.")
    ] = False,
) -> None:
    """Make a language model forget, and measure what it still knows."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command(
    epilog=_examples(
        "efface run tofu-forget01 method=me+gd model=path/to/model --out runs/first",
        "efface run tofu-forget05 recipe=published method=idk+ap model=path/to/model --out runs/second",
        "efface run mine.yaml seed=1 --out runs/third",
    )
)
def run(source: Source, out: Out, pairs: Pairs = None, data_dir: DataDir = None, resume: Resume = False) -> None:
    """Unlearn, and evaluate before and after."""
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
    typer.echo(f"model: {out / 'model'}\nscores: {out / 'results.json'}")


@app.command(epilog=_examples("efface finetune tofu-forget01 model=path/to/base train.lr=1e-4 --out runs/target"))
def finetune(source: Source, out: Out, pairs: Pairs = None, data_dir: DataDir = None, resume: Resume = False) -> None:
    """Make a target model: fine-tune on everything the data holds."""
    from efface.presets import finetune_config

    config = finetune_config(source, pairs or [])
    from rich.console import Console

    from efface.run.console import ConsoleReporter
    from efface.run.finetune import finetune as run_finetune

    with ConsoleReporter(Console()) as reporter:
        model = run_finetune(config, out, data_dir=data_dir, resume=resume, reporter=reporter)
    typer.echo(f"model: {model}")


@app.command(
    epilog=_examples(
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
        _say(f"warning: {warning.message}")
    if as_json:
        typer.echo(json.dumps(scores, indent=2, allow_nan=False))
        return
    from rich.console import Console

    from efface.report.tables import print_scores

    print_scores(Console(), scores)


@app.command(epilog=_examples("efface demo --seed 3 --out runs/third-demo"))
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


def main() -> None:
    """Run the command; what the user can mend is one sentence on stderr and exit code 2."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        app(args=arguments)
    except (EffaceError, OSError) as error:
        if debug:
            traceback.print_exc()
        _say(_sentence(error))
        sys.exit(2)


def _sentence(error: EffaceError | OSError) -> str:
    if isinstance(error, EffaceError) or error.strerror is None:
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}; look at the path, its rights and the free space"


def _say(text: str) -> None:
    """One line on stderr; it may quote data, a log or a path, which may hold anything."""
    from efface.report.text import one_line

    typer.echo(f"efface: {one_line(text)}", err=True)
