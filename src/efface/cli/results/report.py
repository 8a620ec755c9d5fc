"""The command that shows runs as one page, or as tables for papers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from efface import __version__
from efface.cli.common.options import examples
from efface.errors import EffaceError

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
        typer.Argument(
            metavar="RUN",
            show_default=False,
            help="Folders of runs, of queues of requests, or of efface evaluate, such as that of a retrained model. "
            "A run may still be going.",
        ),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Where it goes. Without it, a page goes to report.html: in the folder of a single run, or here; "
            "tables are printed.",
        ),
    ] = None,
    form: Annotated[
        Literal["html", "markdown", "csv", "latex"],
        typer.Option(
            "--format",
            help="html: one page for any browser, which needs no network; markdown, csv, latex: tables; csv has the "
            "single questions, too.",
        ),
    ] = "html",
) -> None:
    """Show what was forgotten and what broke, as one page."""
    if out is not None:
        _check(out, form)
    from efface.report.page.load_run import load_report_run

    found = [load_report_run(run) for run in _different(runs)]
    if form == "html":
        from efface.report.page.html import render_page

        text = render_page(found, version=__version__)
        out = out or (runs[0] if len(found) == 1 else Path()) / "report.html"
    else:
        from efface.report.page.paper_tables import render_csv, render_paper_tables

        text = render_csv(found) if form == "csv" else render_paper_tables(found, form)
    if out is None:
        typer.echo(text, nl=False)
        return
    from efface.atomic import write_text

    write_text(out, text)
    typer.echo(f"report: {out}")


def _check(out: Path, form: str) -> None:
    """Refuse a file of another kind: it might be a part of a run."""
    if out.is_dir():
        raise EffaceError(f"--out {out} is a folder; give the name of a file")
    if out.suffix.lower() not in _SUFFIXES[form]:
        fitting = next((each for each, suffixes in _SUFFIXES.items() if out.suffix.lower() in suffixes), None)
        hint = f"add --format {fitting}" if fitting else f"let it end in {_SUFFIXES[form][0]}"
        raise EffaceError(f"--out {out} does not look like {form}; {hint}")


def _different(runs: list[Path]) -> list[Path]:
    """Each folder once, in the order given."""
    return list({run.absolute(): run for run in runs}.values())
