"""`efface reproduce`: whether a run gives the same numbers again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from efface.cli.common.options import DataDir, Json, examples, interruptible, run_argument

if TYPE_CHECKING:
    from efface.commands.reproduce import Reproduction

app = typer.Typer()

_SHOWN = 20
"""Numbers that differ, at most."""


@app.command(
    epilog=examples(
        "efface reproduce runs/first",
        "efface reproduce runs/first --out runs/first-again --json",
    )
)
def reproduce(
    run: Annotated[Path, run_argument("The folder of a finished run; it is not changed.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to run it again, new or empty; default: RUN-again.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Run a run again, and compare the numbers.

    Checks settings, data, model, code and versions against manifest.json; without the same data and model, nothing
    runs. Exit code 1 if a number or a weight differs. Start it in the working directory of the run, for relative paths.
    It repeats single runs: not a queue of requests, a sweep, an evaluation or a fine-tuned model.
    """
    with interruptible("start again with another --out"):
        from rich.console import Console

        from efface.commands.reproduce import reproduce as repeat
        from efface.progress.console import ConsoleReporter

        with ConsoleReporter(Console(stderr=as_json)) as reporter:
            again = out or run.with_name(f"{run.resolve().name}-again")
            found = repeat(run, again, data_dir=data_dir, reporter=reporter)
    if as_json:
        typer.echo(found.model_dump_json(indent=2, by_alias=True))
    else:
        _print(found)
    if not found.is_same:
        raise typer.Exit(1)


def _print(found: Reproduction) -> None:
    """What was checked, and how many numbers and files are the same; the worst differences with their digits."""
    from efface.report.number_format import pluralize
    from efface.report.sanitize import one_line

    changed = [check for check in found.checks if not check.is_same]
    typer.echo(f"checked: {len(found.checks) - len(changed)} of {len(found.checks)} as in manifest.json")
    for check in changed:
        typer.echo(one_line(f"  {check.name} was {check.recorded} and is {check.now}"))
    different = found.numbers.different
    typer.echo(f"numbers: {found.numbers.compared - len(different)} of {found.numbers.compared} agree in every digit")
    for each in different[:_SHOWN]:
        values = f"{each.recorded} and {each.repeated}"
        typer.echo(one_line(f"  {each.name}: {values} agree to {pluralize(each.digits, 'digit')}"))
    if len(different) > _SHOWN:
        typer.echo(f"  and {len(different) - _SHOWN} more, which agree to as many digits or more; --json has all")
    files = len(found.same_files) + len(found.different_files)
    typer.echo(f"files of weights and records: {len(found.same_files)} of {files} have the same bytes")
    for name in found.different_files:
        typer.echo(one_line(f"  {name} differs"))
    typer.echo(one_line(f"run again in {found.out}"))
