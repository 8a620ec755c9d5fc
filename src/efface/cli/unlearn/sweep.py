"""`efface sweep`: a grid of settings -> one run for each combination, and one table."""

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
        "efface sweep sweep.yaml device=cpu --out runs/all --processes 4",
        "efface sweep sweep.yaml target.model=path/to/base --out runs/all --json > all.json",
    )
)
def sweep(
    spec: Annotated[
        Path,
        typer.Argument(
            metavar="SPEC",
            show_default=False,
            help="A YAML file: target, settings of all runs, grid and baselines. Paths in it are relative to the "
            "working directory.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            show_default=False,
            help="The folder of the sweep; runs that are already in it are not repeated.",
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            show_default=False,
            autocompletion=completion.pairs,
            help="Settings of every run that override those in SPEC, such as train.epochs=3; with the prefix "
            "`target.`, settings of the model that all runs start from.",
        ),
    ] = None,
    *,
    data_dir: DataDir = None,
    processes: Annotated[
        int,
        typer.Option(
            "--processes",
            metavar="N",
            min=1,
            help="How many runs at once, on a CPU under Linux: each has one thread, so as many as there are cores, if "
            "the memory holds as many models.",
        ),
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, list the jobs (done, started, to do), and stop.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a grid of settings, and print one table.

    The table has mean and standard deviation over seeds. Continues where it was interrupted: finished runs in DIR are
    recognized by settings, model, data and plug-ins. Exit code 1 if a run failed; the next call tries it again.
    """
    from efface.sweep.spec import read_spec

    sweep_spec = read_spec(spec, settings or [])
    with interruptible("nothing was written" if dry_run else "continue with the same command"):
        if dry_run:
            _print_plan(sweep_spec, out, data_dir, as_json=as_json)
        else:
            _run_sweep(sweep_spec, out, data_dir, processes=processes, as_json=as_json)


def _run_sweep(spec: SweepSpec, out: Path, data_dir: Path | None, *, processes: int, as_json: bool) -> None:
    from rich.console import Console

    from efface.files.folders import SweepPaths
    from efface.progress.console import ConsoleReporter
    from efface.sweep.print_table import print_sweep_table
    from efface.sweep.sweep import sweep as run_sweep

    with ConsoleReporter(Console(stderr=as_json)) as reporter:
        result = run_sweep(spec, out, data_dir=data_dir, processes=processes, reporter=reporter)
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=2, allow_nan=False))
    else:
        print_sweep_table(Console(), result.table)
        paths = SweepPaths(out)
        typer.echo(f"runs: {paths.log}\ntable: {paths.table}")
    if result.table.failures:
        raise typer.Exit(1)


def _print_plan(spec: SweepSpec, out: Path, data_dir: Path | None, *, as_json: bool) -> None:
    from efface.sweep.dry_run import dry_run_sweep

    plan = dry_run_sweep(spec, out, data_dir=data_dir)
    if as_json:
        typer.echo(json.dumps({"schema": 1, **plan.model_dump()}, indent=2))
        return
    from rich.console import Console

    from efface.report.terminal.key_values import print_key_values

    print_key_values(Console(), "Dry run: nothing was trained or written", _facts(plan))


def _facts(plan: SweepPlanSummary) -> Iterator[tuple[str, str]]:
    from efface.report.number_format import pluralize

    states = ", ".join(f"{count} {state}" for state, count in plan.counts().items())
    yield "in all", f"{pluralize(len(plan.runs), 'run')}: {states}"
    for each in ([plan.target] if plan.target else []) + plan.runs + plan.baselines:
        yield each.state, each.name + (f": {each.folder}" if each.folder else "")
