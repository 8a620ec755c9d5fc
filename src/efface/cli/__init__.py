"""The command `efface`. It parses, calls the library and turns an `EffaceError` into one sentence and exit code 2."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from efface import __version__, distributed
from efface.cli.common.options import examples, help_of, say
from efface.cli.common.usage_errors import usage_sentence
from efface.cli.data import data
from efface.cli.results import chat, downstream, evaluate, leaderboard, push, report
from efface.cli.unlearn import doctor, presets, request, run, sweep
from efface.errors import EffaceError

_OF_SEVERAL = {"evaluate", "finetune", "run", "unlearn"}
"""Commands that several processes may work on."""

app = typer.Typer(
    name="efface",
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
        "efface --install-completion",
    ),
)
def options(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[  # noqa: ARG001 - `main` has taken it away before
        bool, typer.Option("--debug", help="Show the traceback of an error; goes anywhere on the line.")
    ] = False,
) -> None:
    """Make a language model forget, and measure what it still knows."""
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if distributed.launched_world_size() > 1 and ctx.invoked_subcommand not in _OF_SEVERAL:
        raise EffaceError(
            f"efface {ctx.invoked_subcommand or ''} works in one process; start it without torchrun and accelerate "
            f"launch (several may work on {', '.join(sorted(_OF_SEVERAL))})"
        )
    help_of(ctx)


for group in (run, request, sweep, evaluate, report, leaderboard, downstream, data, presets, push, doctor, chat):
    app.add_typer(group.app)


def main() -> None:
    """Run the command; what the user can mend is one sentence on stderr and exit code 2."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    for name in ("torchao", "torch.utils._pytree"):  # of kernels for other machines, as soon as they are imported
        logging.getLogger(name).setLevel(logging.ERROR)
    tells = distributed.launched_world_size() == 1 or os.environ.get("RANK", "0") == "0"
    if not tells:  # what all processes say is said once
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    try:
        code = app(args=arguments, prog_name="efface", standalone_mode=False)
    except typer.Abort:  # at a question
        code = 130
    except (EffaceError, OSError, typer.TyperException) as error:
        if debug:
            traceback.print_exc()
        if tells or isinstance(error, distributed.DistributedError):
            say(_sentence(error))
        code = 2
    sys.exit(code)


def _sentence(error: EffaceError | OSError | typer.TyperException) -> str:
    if isinstance(error, typer.TyperException):
        return usage_sentence(error)
    if isinstance(error, EffaceError) or error.strerror is None:
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror}; look at the path, its rights and the free space"
