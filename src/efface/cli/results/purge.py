"""`efface purge`: remove the texts of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from efface.cli.common.options import examples, run_argument
from efface.errors import EffaceError

if TYPE_CHECKING:
    from efface.commands.purge import Kept, Purge

app = typer.Typer()


@app.command(
    epilog=examples(
        "efface purge runs/first --dry-run",
        "efface purge runs/first",
        "efface purge runs/sweep --keep results",
    )
)
def purge(
    run: Annotated[
        Path, run_argument("The folder of a run, an evaluation, a fine-tuning, a queue of requests or a sweep.")
    ],
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            metavar="WHAT",
            help="What stays besides settings and manifest, separated by commas: the unlearned model, the results (all "
            "numbers), the record (of `efface record make`); '' for none.",
        ),
    ] = "model,results,record",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be removed, and remove nothing.")
    ] = False,
) -> None:
    """Remove the texts of a run: records, inputs, report, answers, caches, checkpoints.

    Also the model before unlearning where efface wrote it: a copy of an object, the target of a sweep, the models of
    earlier requests. Data files and models outside of the folder are named, and stay. The run cannot be resumed or
    scored again.
    """
    from efface.commands.purge import purge as purge_run

    _print(purge_run(run, keep=_parse(keep), dry_run=dry_run), dry_run=dry_run)


def _parse(keep: str) -> list[Kept]:
    from efface.commands.purge import KEPT

    words = [word.strip() for word in keep.split(",") if word.strip()]
    if unknown := [word for word in words if word not in KEPT]:
        raise EffaceError(f"--keep {unknown[0]}: unknown; give some of {', '.join(KEPT)}, separated by commas")
    return [each for each in KEPT if each in words]


def _print(done: Purge, *, dry_run: bool) -> None:
    from efface.report.number_format import pluralize
    from efface.report.sanitize import one_line

    verb = "would remove" if dry_run else "removed"
    for path in done.removed:
        typer.echo(f"{verb} {one_line(str(path))}")
    typer.echo(f"{verb} {pluralize(len(done.removed), 'path')}, {done.n_bytes:,} bytes")
    for path in done.unknown:
        typer.echo(f"stays, not recognized as written by efface: {one_line(str(path))}")
    for name in done.outside:
        typer.echo(f"stays, outside of the folder: {one_line(name)}")
    typer.echo("Texts may also be in caches, backups, hub repositories and other models: see docs/deletion.md")
