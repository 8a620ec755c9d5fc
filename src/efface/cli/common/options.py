"""What several commands take, and how they speak."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from efface.cli.common import completion

Settings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CONFIG|PRESET|KEY=VALUE",
        show_default=False,
        autocompletion=completion.settings,
        help="A YAML file (paths in it start from the working directory) or a preset (`efface presets` lists them), "
        "then settings over it, such as train.lr=2e-5; the later wins. `efface presets NAME` names them all.",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The run's folder; new or empty.", show_default=False)]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        envvar="EFFACE_DATA",
        help="Where the benchmarks lie, with tofu/ and real_world/ in it, if not where `efface data fetch` puts them.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a run of the same settings was stopped.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and check everything, say what would be done, and stop.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def source_and_pairs(settings: list[str] | None) -> tuple[str | None, list[str]]:
    """What comes first is a file or a preset, unless it is itself a setting."""
    given = settings or []
    first = given[0] if given and "=" not in given[0] else None
    return first, given[1:] if first is not None else given


def examples(*lines: str) -> str:
    """For the end of a command's help, one a line."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def help_of(ctx: typer.Context) -> None:
    """Show the help of a command that needs another one behind it, where there is none."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(2)


@contextmanager
def interruptible(remedy: str) -> Iterator[None]:
    """Where the user presses Ctrl-C, end with one line that says how to go on, and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"interrupted; {remedy}")
        raise typer.Exit(130) from None


def say(text: str) -> None:
    """One line on stderr; it may quote data, a log or a path, which may hold anything."""
    from efface.report.sanitize import one_line

    typer.echo(f"efface: {one_line(text)}", err=True)
