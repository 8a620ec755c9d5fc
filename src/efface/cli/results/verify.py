"""`efface verify`: whether the files of a run are still those that it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from efface.cli.common.options import Json, examples, run_argument

if TYPE_CHECKING:
    from efface.commands.verify import VerifiedRun

app = typer.Typer()


@app.command(
    epilog=examples(
        "efface verify runs/first",
        "efface verify runs/sweep --json",
    )
)
def verify(
    run: Annotated[
        Path,
        run_argument(
            "The folder of a run, an evaluation, a queue of requests or a sweep; or one that has some of these."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Check that model, records and results are those that the run wrote.

    Compares every file with its SHA-256 in manifest.json, and checkpoints with the sums beside them. Exit code 1 if one
    differs, is missing or was added. This finds damage and mix-ups, not somebody who changes the manifest as well.
    """
    from efface.commands.verify import verify as verify_files

    found = verify_files(run)
    if as_json:
        typer.echo(found.model_dump_json(indent=2, by_alias=True))
    else:
        for each in found.runs:
            _print(each)
    if not found.is_intact:
        raise typer.Exit(1)


def _print(run: VerifiedRun) -> None:
    """One line for the run, and one for each file that is not intact."""
    from efface.report.number_format import pluralize
    from efface.report.sanitize import one_line

    if not run.has_sums:
        typer.echo(f"{one_line(run.path)}: has no sums, because an earlier version of efface wrote it")
        return
    typer.echo(f"{one_line(run.path)}: {pluralize(run.intact, 'file')} intact")
    for words, names in (
        ("differs", run.differs),
        ("is missing", run.missing),
        ("was not written by the run", run.not_recorded),
        ("was purged", run.purged),
    ):
        for name in names:
            typer.echo(f"  {one_line(name)} {words}")
