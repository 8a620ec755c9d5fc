"""`efface doctor`: this machine and a run's settings -> what is installed, whether the run fits, and its cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from efface.cli.common.options import DataDir, Json, Settings, examples, interruptible, source_and_pairs
from efface.errors import EffaceError

if TYPE_CHECKING:
    from efface.config.commands import RunConfig
    from efface.preflight.diagnosis import Diagnosis

app = typer.Typer()


@app.command(
    epilog=examples(
        "efface doctor",
        "efface doctor tofu-forget01 method=me+gd model=path/to/model",
        "efface doctor mine.yaml train.lora=true --steps 0 --json",
        "efface doctor mine.yaml --world-size 8 --steps 0",
    )
)
def doctor(
    settings: Settings = None,
    data_dir: DataDir = None,
    steps: Annotated[int, typer.Option(metavar="N", min=0, help="Optimizer steps to measure; 0: measure nothing.")] = 2,
    world_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Print the memory of each of N processes.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check this machine, and whether a run fits on it.

    Given a run's settings, estimates its memory and time. Exit code 2 if something prevents the run. Nothing is
    written.
    """
    from efface.config.commands import RunConfig
    from efface.config.resolve import resolve_config

    config = resolve_config(RunConfig, *source_and_pairs(settings)) if settings else None
    with interruptible("nothing was written"):
        diagnosis = _examine(config, data_dir=data_dir, steps=steps, world_size=world_size)
        if as_json:
            typer.echo(json.dumps({"schema": 1, **diagnosis.model_dump()}, indent=2, allow_nan=False))
        else:
            from rich.console import Console

            from efface.preflight.tables import print_diagnosis

            print_diagnosis(Console(), diagnosis)
    _raise_problems(diagnosis)


def _examine(config: RunConfig | None, *, data_dir: Path | None, steps: int, world_size: int | None) -> Diagnosis:
    from efface.preflight.doctor import examine, examine_run

    if config is None:
        if world_size is not None:
            raise EffaceError("--world-size counts the memory of a run; give its settings, such as model=FOLDER")
        return examine(data_dir)
    from rich.console import Console

    from efface.progress.console import ConsoleReporter

    with ConsoleReporter(Console(stderr=True)) as reporter:
        return examine_run(config, data_dir=data_dir, steps=steps, reporter=reporter, world_size=world_size)


def _raise_problems(diagnosis: Diagnosis) -> None:
    """Raise the first problem that prevents the run, if there is one."""
    if not (problems := diagnosis.problems):
        return
    others = f" ({len(problems) - 1} more above)" if len(problems) > 1 else ""
    raise EffaceError(f"this run cannot start: {problems[0].text}{others}")
