"""The command `push`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from efface.cli.common.options import examples, interruptible
from efface.errors import EffaceError

app = typer.Typer()


@app.command(
    epilog=examples(
        "efface push runs/first owner/my-unlearned-model",
        "efface push runs/adapted owner/my-adapter --adapter --public --yes",
    )
)
def push(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", show_default=False, help="The folder of a finished run, or of a model."),
    ],
    repo: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", show_default=False, help="Where on the Hugging Face hub.")
    ],
    *,
    public: Annotated[
        bool, typer.Option("--public", help="Let everyone see a new repository; otherwise it is private.")
    ] = False,
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Upload the run's LoRA adapter instead of its merged model.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="A branch, made where it is missing; otherwise the main one.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before uploading.")] = False,
) -> None:
    """Upload a run's model to the Hugging Face hub.

    Weights, settings, tokenizer and card go there, and nothing else of the run.
    """
    from efface.commands.push import files_to_push
    from efface.commands.push import push as push_model
    from efface.report.number_format import format_bytes
    from efface.report.sanitize import one_line

    files = files_to_push(run, adapter=adapter)
    total = sum(file.stat().st_size for file in files)
    where = f"{repo}, branch {revision}" if revision else repo
    typer.echo(
        one_line(f"{format_bytes(total)} go to {where}, {'for everyone to see' if public else 'private if it is new'}:")
    )
    for file in files:
        typer.echo(one_line(f"  {file} ({format_bytes(file.stat().st_size)})"))
    if not yes:
        if not sys.stdin.isatty():
            raise EffaceError("nothing was pushed, as there is no terminal to ask; say --yes to push without asking")
        if not typer.confirm("Upload them?"):
            typer.echo("nothing was pushed")
            raise typer.Exit(1)
    with interruptible("whether it was pushed, the hub's page tells"):
        url = push_model(run, repo, private=not public, adapter=adapter, revision=revision)
    typer.echo(f"pushed: {url}")
