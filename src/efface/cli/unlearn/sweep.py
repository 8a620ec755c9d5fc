"""The command sweep: a whole grid of runs, and one table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from efface.cli.common import completion
from efface.cli.common.options import DataDir, Json, examples, interruptible

if TYPE_CHECKING:
    from efface.sweep.dry_run import SweepPlanSummary
    from efface.sweep.spec import SweepSpec

app = typer.Typer()


@app.command(
    epilog=examples(
        "efface sweep sweep.yaml --out runs/all",
        "efface sweep sweep.yaml device=cpu --out runs/all --dry-run",
        "efface sweep sweep.yaml target.model=path/to/base --out runs/all --json > all.json",
    )
)
def sweep(
    spec: Annotated[
        Path,
        typer.Argument(
            metavar="SPEC",
            show_default=False,
            help="A YAML file: the target, the settings of all runs, the grid and what to compare with. Paths in it "
            "start from the working directory.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            show_default=False,
            help="The sweep's folder; what earlier sweeps made in it is not made again.",
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            show_default=False,
            autocompletion=completion.pairs,
            help="Settings of every run, over those in SPEC, such as train.epochs=3; with `target.` in front, settings "
            "of the model that they start from.",
        ),
    ] = None,
    *,
    data_dir: DataDir = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, list the runs and which of them are done, and stop.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make every combination of a grid of settings, and one table with mean and spread over seeds.

    Goes on where it was stopped. What DIR holds is known by content: settings, model, data and plug-ins. Ends with
    exit code 1 where a run failed; the next call tries it again.
    """
    from efface.sweep.spec import read_spec

    wanted = read_spec(spec, settings or [])
    with interruptible("nothing was written" if dry_run else "the same command goes on"):
        if dry_run:
            _outline(wanted, out, data_dir, as_json=as_json)
        else:
            _sweep(wanted, out, data_dir, as_json=as_json)


def _sweep(spec: SweepSpec, out: Path, data_dir: Path | None, *, as_json: bool) -> None:
    from rich.console import Console

    from efface.folders import SweepPaths
    from efface.progress.console import ConsoleReporter
    from efface.sweep.print_table import print_sweep_table
    from efface.sweep.sweep import sweep as make

    with ConsoleReporter(Console(stderr=as_json)) as reporter:
        made = make(spec, out, data_dir=data_dir, reporter=reporter)
    if as_json:
        typer.echo(json.dumps(made.to_json(), indent=2, allow_nan=False))
    else:
        print_sweep_table(Console(), made.table)
        paths = SweepPaths(out)
        typer.echo(f"runs: {paths.log}\ntable: {paths.table}")
    if made.table.failures:
        raise typer.Exit(1)


def _outline(spec: SweepSpec, out: Path, data_dir: Path | None, *, as_json: bool) -> None:
    from efface.sweep.dry_run import dry_run_sweep

    found = dry_run_sweep(spec, out, data_dir=data_dir)
    if as_json:
        typer.echo(json.dumps({"schema": 1, **found.model_dump()}, indent=2))
        return
    from rich.console import Console

    from efface.report.terminal.key_values import print_key_values

    print_key_values(Console(), "Dry run: nothing was trained or written", _facts(found))


def _facts(found: SweepPlanSummary) -> Iterator[tuple[str, str]]:
    from efface.report.number_format import pluralize

    states = ", ".join(f"{count} {state}" for state, count in found.counts().items())
    yield "in all", f"{pluralize(len(found.runs), 'run')}: {states}"
    for each in ([found.target] if found.target else []) + found.runs + found.baselines:
        yield each.state, each.name + (f": {each.folder}" if each.folder else "")
