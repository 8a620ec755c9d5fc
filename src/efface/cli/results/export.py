"""`efface export`: runs in the formats of other tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from efface.cli.common.options import add_group, examples, run_argument
from efface.errors import EffaceError

app = typer.Typer()
export = add_group(
    app, "export", "Write runs in the formats of other tools.", "efface export inspect runs/first --out logs"
)


@export.command(
    epilog=examples("efface export inspect runs/first --out logs", "efface export inspect runs/one runs/two --out logs")
)
def inspect(
    runs: Annotated[list[Path], run_argument("Folders of runs, queues of requests or evaluations.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the logs.", show_default=False)],
) -> None:
    """Write questions, answers and scores as logs of inspect_ai; `inspect view --log-dir DIR` shows them.

    A run has a log of the model before unlearning and one of the model after it. Writing them does not need inspect_ai.
    """
    from efface.files.atomic import write_text
    from efface.report.inspect_log import inspect_logs
    from efface.report.page.load_run import load_report_run
    from efface.report.page.tables import run_names

    if out.is_file():
        raise EffaceError(f"--out {out} is a file; give a folder")
    loaded = [load_report_run(each) for each in runs]
    logs: dict[str, object] = {}
    for name, run in zip(run_names(loaded), loaded, strict=True):
        logs |= inspect_logs(run, name)
    if not logs:
        raise EffaceError(f"{', '.join(map(str, runs))}: there are no answers to export; evaluate the model first")
    out.mkdir(parents=True, exist_ok=True)
    for file, log in logs.items():
        write_text(out / file, json.dumps(log, ensure_ascii=False))
        typer.echo(out / file)
    typer.echo(f"next: inspect view --log-dir {out}")
