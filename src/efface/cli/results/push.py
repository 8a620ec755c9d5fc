"""`efface push`: a run's model -> a repository on the Hugging Face hub."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from efface.cli.common.options import examples, interruptible, run_argument
from efface.errors import EffaceError

app = typer.Typer()


@app.command(
    epilog=examples(
        "efface push runs/first owner/my-unlearned-model",
        "efface push runs/first owner/my-unlearned-model --dry-run",
        "efface push runs/adapted owner/my-adapter --adapter --public --yes",
    )
)
def push(
    run: Annotated[Path, run_argument("The folder of a finished run, or of a model.")],
    repo: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", show_default=False, help="The repository on the Hugging Face hub.")
    ],
    *,
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public; default: private.")] = False,
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Upload the run's LoRA adapter instead of its merged model.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="A branch, created if needed; default: main.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be uploaded, and stop; uses no network.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before uploading.")] = False,
) -> None:
    """Upload a run's model to the Hugging Face hub.

    Uploads weights, model config, tokenizer and model card, and nothing else of the run.
    """
    from efface.commands.push import check_name, files_to_push, repository_url
    from efface.commands.push import push as push_model
    from efface.report.number_format import format_bytes
    from efface.report.sanitize import one_line

    files = files_to_push(run, adapter=adapter)
    total = sum(file.stat().st_size for file in files)
    destination = f"{repo}, branch {revision}" if revision else repo
    visibility = "public" if public else "private if it is new"
    typer.echo(one_line(f"to upload to {destination} ({visibility}), {format_bytes(total)}:"))
    for file in files:
        typer.echo(one_line(f"  {file} ({format_bytes(file.stat().st_size)})"))
    if dry_run:
        check_name(repo)
        typer.echo(one_line(f"nothing was pushed (--dry-run); it would be on {repository_url(repo, revision)}"))
        return
    if not yes:
        if not sys.stdin.isatty():
            raise EffaceError(
                "nothing was pushed: there is no terminal to confirm in; add --yes to push without asking"
            )
        if not typer.confirm("Upload them?"):
            typer.echo("nothing was pushed")
            raise typer.Exit(1)
    with interruptible("check on the hub whether it was pushed"):
        url = push_model(run, repo, private=not public, adapter=adapter, revision=revision)
    typer.echo(f"pushed: {url}")
