"""`efface request add`, and `efface run` with several requests: unlearned one after another."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from efface.cli.common.dry_run import show_dry_run
from efface.cli.common.options import DataDir, DryRun, add_group, examples, interruptible, run_argument
from efface.files.folders import QueuePaths

if TYPE_CHECKING:
    from efface.config.commands import RunConfig

app = typer.Typer()
request = add_group(
    app,
    "request",
    "Add a request to a queue.",
    "efface request add runs/queue next.csv",
    "efface request add runs/queue 4",
)


@request.command(
    epilog=examples(
        "efface request add runs/queue next.csv",
        "efface request add runs/queue 4 --dry-run",
    )
)
def add(
    run: Annotated[Path, run_argument("The folder of a run with continual.requests.")],
    added: Annotated[
        str,
        typer.Argument(
            metavar="REQUEST",
            show_default=False,
            help="What to forget next: a file, as in the requests before, or the number of a task of the benchmark.",
        ),
    ],
    data_dir: DataDir = None,
    dry_run: DryRun = False,
) -> None:
    """Unlearn one more request, starting from the model after the last one.

    Unfinished earlier requests are completed first. After an interruption, the same command continues.
    """
    from efface.continual.queue import append_request
    from efface.data.config import FileConfig

    config = append_request(run, int(added) if added.isdecimal() else FileConfig(path=added))
    run_requests(config, run, data_dir=data_dir, resume=True, dry_run=dry_run, remedy="continue with the same command")


def run_requests(
    config: RunConfig, out: Path, *, data_dir: Path | None, resume: bool, dry_run: bool, remedy: str
) -> None:
    """Unlearn the requests of `config` that are not done yet, and print the scores of all.

    Args:
        config: Settings with `continual.requests`.
        out: The folder of the queue.
        data_dir: The folder of the benchmarks; None: the default.
        resume: Continue the queue in `out`.
        dry_run: Print the plan only.
        remedy: How to continue, for the message after an interruption.

    Raises:
        EffaceError: The settings, the data or the folder cannot be used.
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
