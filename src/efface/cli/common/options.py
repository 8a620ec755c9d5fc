"""Arguments and options that several commands have, and how commands print messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from efface import distributed, termination
from efface.cli.common import completion

Settings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CONFIG|PRESET|KEY=VALUE",
        show_default=False,
        autocompletion=completion.settings,
        help="A YAML file (its paths are relative to the working directory) or a preset (`efface presets` lists them), "
        "then settings that override it, such as train.lr=2e-5; the last wins. `efface presets NAME` shows all of "
        "them.",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The run's folder; new or empty.", show_default=False)]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        envvar="EFFACE_DATA",
        help="The folder of the benchmarks, with tofu/ and real_world/ in it; default: where `efface data fetch` "
        "stores them.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run of the same settings.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and check everything, print the plan, and stop.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


RESUME_REMEDY = "continue with --resume"
"""What to do after an interrupted run."""


def source_and_pairs(settings: list[str] | None) -> tuple[str | None, list[str]]:
    """Split the words of a command into its config file or preset, if there is one, and its settings.

    Args:
        settings: The words; the first is a file or a preset unless it has a `=`.

    Returns:
        The file or preset, or None; the key=value pairs.
    """
    given = settings or []
    first = given[0] if given and "=" not in given[0] else None
    return first, given[1:] if first is not None else given


def examples(*lines: str) -> str:
    """The text at the end of a command's help: `lines`, one example each."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def run_argument(help_: str) -> Any:
    """The argument RUN: a folder that a command reads.

    Args:
        help_: Which folders the command takes.
    """
    return typer.Argument(metavar="RUN", show_default=False, help=help_)


def add_group(app: typer.Typer, name: str, help_: str, *lines: str) -> typer.Typer:
    """Add a command that has only subcommands; called without one, it prints its help.

    Args:
        app: Gets the command.
        name: Of the command.
        help_: What its subcommands do.
        lines: Examples.

    Returns:
        The app to add the subcommands to.
    """
    group = typer.Typer(
        name=name, help=help_, epilog=examples(*lines), callback=require_subcommand, invoke_without_command=True
    )
    app.add_typer(group)
    return group


def require_subcommand(ctx: typer.Context) -> None:
    """Where a group of commands was called without one, print its help and exit with code 2."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(2)


@contextmanager
def interruptible(remedy: str) -> Iterator[None]:
    """On Ctrl-C, print one line and exit with code 130; on SIGTERM and SIGHUP the same with code 143.

    Args:
        remedy: What the line says of the state of things and of how to continue.
    """
    try:
        with termination.handled():
            yield
    except KeyboardInterrupt:
        print_message(f"interrupted; {remedy}")
        raise typer.Exit(130) from None
    except termination.Terminated as done:
        if distributed.launched_rank() == 0:
            print_message(f"terminated{f' {done}' if str(done) else _ended_with_others()}; {remedy}")
        raise typer.Exit(termination.EXIT_CODE) from None


def _ended_with_others() -> str:
    return " (or another process ended: see its message)" if distributed.launched_world_size() > 1 else ""


def print_message(text: str) -> None:
    """Print one line on stderr; control characters are removed, since `text` may quote data, a log or a path."""
    from efface.report.sanitize import one_line

    typer.echo(f"efface: {one_line(text)}", err=True)
