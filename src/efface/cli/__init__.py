"""The command `efface`. It parses, calls the library and turns an `EffaceError` into one sentence and exit code 2."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from efface import __version__
from efface.cli import runs, scores
from efface.cli.arguments import examples, say
from efface.errors import EffaceError

app = typer.Typer(
    name="efface",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(
    invoke_without_command=True,
    epilog=examples(
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


for group in (runs, scores):
    app.add_typer(group.app)


def main() -> None:
    """Run the command; what the user can mend is one sentence on stderr and exit code 2."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        app(args=arguments)
    except (EffaceError, OSError) as error:
        if debug:
            traceback.print_exc()
        say(_sentence(error))
        sys.exit(2)


def _sentence(error: EffaceError | OSError) -> str:
    if isinstance(error, EffaceError) or error.strerror is None:
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}; look at the path, its rights and the free space"
