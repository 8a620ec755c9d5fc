"""`efface report`: runs -> one page, or tables for papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from efface import __version__
from efface.cli.common.options import examples, run_argument
from efface.errors import EffaceError
from efface.files.folders import REPORT

app = typer.Typer()

_SUFFIXES = {
    "html": (".html", ".htm"),
    "markdown": (".md", ".markdown", ".txt"),
    "csv": (".csv",),
    "latex": (".tex",),
}


@app.command(
    epilog=examples(
        "efface report runs/first",
        "efface report runs/first runs/second runs/retrained-scores --out compared.html",
        "efface report runs/first --format latex",
        "efface report runs/first --format csv --out questions.csv",
    )
)
def report(
    runs: Annotated[
        list[Path],
        run_argument(
            "Folders of runs, of queues of requests, or of efface evaluate, such as that of a retrained model. "
            "A run may still be in progress."
        ),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="The file to write. Default: a page is written to report.html, in the folder of a single run or else "
            "in the working directory; tables are printed.",
        ),
    ] = None,
    form: Annotated[
        Literal["html", "markdown", "csv", "latex"],
        typer.Option(
            "--format",
            help="html: one page for any browser, which needs no network; markdown, csv, latex: tables; csv also has "
            "one row per question.",
        ),
    ] = "html",
) -> None:
    """Show what was forgotten and what was damaged, as one page."""
    if out is not None:
        _check_suffix(out, form)
    from efface.report.page.load_run import load_report_run

    loaded = [load_report_run(run) for run in _without_duplicates(runs)]
    if form == "html":
        from efface.report.page.html import render_page

        text = render_page(loaded, version=__version__)
        out = out or (runs[0] if len(loaded) == 1 else Path()) / REPORT
    else:
        from efface.report.page.paper_tables import render_csv, render_paper_tables

        text = render_csv(loaded) if form == "csv" else render_paper_tables(loaded, form)
    if out is None:
        typer.echo(text, nl=False)
        return
    from efface.files.atomic import write_text
    from efface.files.folder_lock import lock_output

    with lock_output(out):
        write_text(out, text)
    typer.echo(f"report: {out}")


def _check_suffix(out: Path, form: str) -> None:
    """Refuse a file with another suffix: it might be part of a run."""
    if out.is_dir():
        raise EffaceError(f"--out {out} is a folder; give the name of a file")
    if out.suffix.lower() not in _SUFFIXES[form]:
        matching = next((each for each, suffixes in _SUFFIXES.items() if out.suffix.lower() in suffixes), None)
        hint = f"add --format {matching}" if matching else f"use a name that ends in {_SUFFIXES[form][0]}"
        raise EffaceError(f"--out {out} does not look like {form}; {hint}")


def _without_duplicates(runs: list[Path]) -> list[Path]:
    """Each folder once, in the given order."""
    return list({run.absolute(): run for run in runs}.values())
