"""`efface downstream`: a model's scores on tasks of lm-evaluation-harness."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from efface.cli.common import completion
from efface.cli.common.options import Json, Out, examples, interruptible

if TYPE_CHECKING:
    from efface.config.commands import DownstreamRunConfig

app = typer.Typer()


@app.command(
    epilog=examples(
        "efface downstream model=runs/first/model --out runs/first-downstream",
        "efface downstream model=runs/first/model arc_challenge gsm8k downstream.limit=200 --out runs/two-tasks",
        "efface downstream model=path/to/model my_task downstream.include=path/to/tasks --out runs/mine --json",
        "efface downstream runs/first-downstream/config.yaml model=path/to/other --out runs/other-downstream",
    )
)
def downstream(
    out: Out,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG] TASK|KEY=VALUE",
            show_default=False,
            autocompletion=completion.pairs,
            help="A YAML file, if any, then tasks and settings in any order. Tasks are names of lm-evaluation-harness "
            "or of the folder downstream.include; default: the five of the paper: arc_challenge, mmlu, truthfulqa_mc1, "
            "triviaqa and gsm8k.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score one model on ARC, MMLU and other tasks.

    The tasks are those of lm-evaluation-harness or custom ones. Needs the extra `downstream`. Data sets come from
    the hub, the cache of `datasets` or the folder of custom tasks.
    """
    config = downstream_config(words or [])
    with interruptible("nothing was written; run the same command again"):
        from rich.console import Console

        from efface.commands.downstream import downstream_model
        from efface.progress.console import ConsoleReporter
        from efface.report.terminal.downstream import print_downstream

        console = Console()
        with nullcontext() if as_json else ConsoleReporter(console) as reporter:
            scores = downstream_model(config, out, reporter)
        if as_json:
            typer.echo(json.dumps(scores.to_json(), indent=2, allow_nan=False))
            return
        print_downstream(console, {"score": scores})
    typer.echo(f"scores: {out / 'downstream.json'}")


def downstream_config(words: list[str]) -> DownstreamRunConfig:
    """The settings of a command line of `efface downstream`.

    Args:
        words: A YAML file, if any, then names of tasks and key=value pairs in any order.

    Raises:
        EffaceError: A setting is unknown, invalid or missing.
    """
    from efface.config.commands import DownstreamRunConfig
    from efface.config.resolve import resolve_config

    source, words = (
        (words[0], words[1:]) if words and "=" not in words[0] and Path(words[0]).is_file() else (None, words)
    )
    pairs = [word for word in words if "=" in word]
    tasks = [word for word in words if "=" not in word]
    settings = {"downstream": {"tasks": tasks}} if tasks else {}
    return resolve_config(DownstreamRunConfig, source, pairs, settings=settings)
