"""Requests that are unlearned in turn: what `efface run` does with several, and the command `request add`."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from efface.cli.common.dry_run import show_dry_run
from efface.cli.common.options import DataDir, DryRun, examples, help_of, interruptible
from efface.folders import QueuePaths

if TYPE_CHECKING:
    from efface.config.commands import RunConfig

app = typer.Typer()
request = typer.Typer()
app.add_typer(request, name="request")


@request.callback(
    invoke_without_command=True,
    epilog=examples("efface request add runs/queue gone.csv", "efface request add runs/queue 4"),
)
def _request(ctx: typer.Context) -> None:
    """Add a request to those that a run has unlearned."""
    help_of(ctx)


@request.command(
    epilog=examples(
        "efface request add runs/queue gone.csv",
        "efface request add runs/queue 4 --dry-run",
    )
)
def add(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", show_default=False, help="The folder of a run with continual.requests.")
    ],
    what: Annotated[
        str,
        typer.Argument(
            metavar="REQUEST",
            show_default=False,
            help="What to forget now: a file like those before, or the number of a task of the run's benchmark.",
        ),
    ],
    data_dir: DataDir = None,
    dry_run: DryRun = False,
) -> None:
    """Unlearn one more request, from the model that the last one left.

    Requests that were interrupted before are finished first; the same command again goes on with its own.
    """
    from efface.continual.queue import append_request
    from efface.data.config import FileConfig

    asked = int(what) if what.isdecimal() else FileConfig(path=what)
    config = append_request(run, asked)
    run_requests(config, run, data_dir=data_dir, resume=True, dry_run=dry_run, remedy="go on with the same command")


def run_requests(
    config: RunConfig, out: Path, *, data_dir: Path | None, resume: bool, dry_run: bool, remedy: str
) -> None:
    """Unlearn the requests of `config` that are not done yet, and show how all of them stand.

    `remedy`: how to go on where the user interrupts it.
    """
    if dry_run:
        from efface.preflight.dry_run import plan_queue

        show_dry_run(partial(plan_queue, config, out, data_dir=data_dir, resume=resume))
        return
    with interruptible(remedy):
        from rich.console import Console

        from efface.continual.queue import run_queue
        from efface.progress.console import ConsoleReporter
        from efface.report.terminal.continual import print_continual

        console = Console()
        with ConsoleReporter(console) as reporter:
            results = run_queue(config, out, data_dir=data_dir, resume=resume, reporter=reporter)
        print_continual(console, results)
    paths = QueuePaths(out)
    typer.echo(f"model: {paths.request(len(results.requests)).model}\nscores: {paths.results}")
    typer.echo(f"next: {shlex.join(['efface', 'report', str(out)])}")
