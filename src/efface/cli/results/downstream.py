"""Command that scores a model on tasks of lm-evaluation-harness: downstream."""

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
            help="A YAML file, if any, then tasks and settings in any order. Tasks are those of lm-evaluation-harness "
            "or of the folder downstream.include; without any, the five of the paper: arc_challenge, mmlu, "
            "truthfulqa_mc1, triviaqa and gsm8k.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score one model on ARC, MMLU and other tasks of lm-evaluation-harness.

    Needs the extra downstream. Data sets come from the hub or the cache of `datasets`, or lie beside your own tasks.
    """
    config = downstream_config(words or [])
    with interruptible("nothing was written; the same command starts anew"):
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
    """The settings that the command's words stand for. Raises `EffaceError` for what they cannot mean."""
    from efface.config.commands import DownstreamRunConfig
    from efface.config.parse import merge_settings, parse_pairs, read_yaml, validate_config

    values = {}
    if words and "=" not in words[0] and Path(words[0]).is_file():
        values, words = read_yaml(Path(words[0])), words[1:]
    values = merge_settings(values, parse_pairs([word for word in words if "=" in word], DownstreamRunConfig))
    if tasks := [word for word in words if "=" not in word]:
        values = merge_settings(values, {"downstream": {"tasks": tasks}})
    return validate_config(DownstreamRunConfig, values)
