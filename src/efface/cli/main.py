"""The command `efface`: parses the command line, runs the command, reports an `EffaceError` as one sentence, code 2."""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Annotated

import typer

from efface import __version__, distributed
from efface.cli.common.error_messages import error_message
from efface.cli.common.options import examples, print_message, require_subcommand
from efface.cli.data import data
from efface.cli.results import (
    audit,
    chat,
    downstream,
    evaluate,
    export,
    leaderboard,
    purge,
    push,
    record,
    report,
    reproduce,
    score,
    verify,
)
from efface.cli.unlearn import demo, doctor, finetune, import_, presets, request, run, schema, sweep, tune
from efface.config.trust import allow_saved_code
from efface.errors import EffaceError
from efface.progress.verbosity import Verbosity, verbosity

_ANYWHERE = ("--allow-plugins", "--debug", "--quiet", "--verbose")
"""Options that may be anywhere on the command line."""
_LONGEST_WAIT = 10.0
"""Seconds that rank 0 may need from the error of another process to its own."""
_COLLECT_AFTER = (50_000, 20, 20)
"""Thresholds of Python's garbage collector. By default it looks at the objects of torch and transformers over and over
while these are imported, which is a seventh of the start of a run."""
_MULTI_PROCESS_COMMANDS = {"evaluate", "finetune", "run", "unlearn"}

_COMMAND_GROUPS = (
    run,
    finetune,
    demo,
    request,
    sweep,
    tune,
    evaluate,
    score,
    audit,
    report,
    leaderboard,
    verify,
    purge,
    record,
    reproduce,
    export,
    downstream,
    data,
    presets,
    schema,
    import_,
    push,
    doctor,
    chat,
)
"""In the order of `efface --help`."""

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
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[  # noqa: ARG001 - `main` has already removed it from the arguments
        bool, typer.Option("--debug", help="Show the traceback of an error; may be anywhere on the command line.")
    ] = False,
    quiet: Annotated[  # noqa: ARG001 - as `debug`
        bool,
        typer.Option("--quiet", help="Print results and warnings, no progress; may be anywhere on the command line."),
    ] = False,
    verbose: Annotated[  # noqa: ARG001 - as `debug`
        bool,
        typer.Option(
            "--verbose",
            help="Print a line for every optimizer step, and messages of libraries; may be anywhere on the command "
            "line.",
        ),
    ] = False,
    allow_plugins: Annotated[  # noqa: ARG001 - as `debug`
        bool,
        typer.Option(
            "--allow-plugins",
            help="Run the plug-ins and task files that the config.yaml of a run's folder names; may be anywhere on the "
            "command line.",
        ),
    ] = False,
) -> None:
    """Make a language model forget, and measure what it still knows."""
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if distributed.launched_world_size() > 1 and ctx.invoked_subcommand not in _MULTI_PROCESS_COMMANDS:
        raise EffaceError(
            f"efface {ctx.invoked_subcommand or ''} works in one process; start it without torchrun and accelerate "
            f"launch (commands for several processes: {', '.join(sorted(_MULTI_PROCESS_COMMANDS))})"
        )
    require_subcommand(ctx)


for group in _COMMAND_GROUPS:
    app.add_typer(group.app)


def main() -> None:
    """Run the command of `sys.argv` and exit.

    Exit codes: 0 success; 1 a part failed (a run of a sweep), or nobody reads the output; 2 an error, as one sentence
    on stderr; 130 interrupted; 143 terminated. Of several processes only rank 0 prints, unless an error is in
    another one alone.
    """
    gc.set_threshold(*_COLLECT_AFTER)
    arguments = [argument for argument in sys.argv[1:] if argument not in _ANYWHERE]
    debug = "--debug" in sys.argv[1:]
    for name in ("torchao", "torch.utils._pytree"):  # they warn on import about kernels for other machines
        logging.getLogger(name).setLevel(logging.ERROR)
    prints = distributed.launched_rank() == 0
    if not prints:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    try:
        with allow_saved_code("--allow-plugins" in sys.argv[1:]), verbosity(_chosen_verbosity(sys.argv[1:])):
            code = app(args=arguments, prog_name="efface", standalone_mode=False)
        sys.stdout.flush()  # a pipe that is closed is an error here, not after the last line
    except typer.Abort:  # Ctrl-C at a prompt
        code = 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough; Python flushes stdout once more at its end
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
        code = 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        if prints or isinstance(error, distributed.DistributedError) or _outlives_rank_0():
            print_message(error_message(error))
        code = 2
    sys.exit(code)


def _outlives_rank_0() -> bool:
    """Whether rank 0 has no error of its own: else torchrun, which ends all processes after one, ends this one, too.

    Ending at once could end rank 0 before its message.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return False
    time.sleep(_LONGEST_WAIT)
    return True


def _chosen_verbosity(arguments: list[str]) -> Verbosity:
    if "--quiet" in arguments and "--verbose" in arguments:
        raise EffaceError("--quiet and --verbose exclude each other; use one of them")
    return "quiet" if "--quiet" in arguments else "verbose" if "--verbose" in arguments else "normal"
