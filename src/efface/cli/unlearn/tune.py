"""`efface tune`: the settings that forget most within a bound on what is lost, and their model."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from efface.cli.common import options
from efface.errors import EffaceError

if TYPE_CHECKING:
    from rich.console import Console

    from efface.artifacts import Results

app = typer.Typer()

NOT_HELD = 3
"""Exit code where no model within the bound was found."""


@app.command(
    epilog=options.examples(
        "efface tune demo model=runs/demo/target/model --keep 0.95 --minutes 5 --out runs/tuned",
        "efface tune data.forget=forget.csv data.retain=retain.csv model=path/to/model --keep 0.95 --out runs/tuned",
        "efface tune mine.yaml --keep 0.9 --methods me+gd,npo+gd --trials 40 --space space.yaml --out runs/tuned",
        "efface tune mine.yaml --keep 0.9 --methods me+gd,npo+gd --trials 80 --space space.yaml --out runs/tuned "
        "--resume",
    )
)
def tune(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder of the search; new or empty.", show_default=False)
    ],
    keep: Annotated[
        float,
        typer.Option(
            "--keep",
            metavar="SHARE",
            show_default=False,
            help="Share of the utility on the retain sets that the model must keep, such as 0.95.",
        ),
    ],
    settings: options.Settings = None,
    *,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            show_default=False,
            help="The methods to choose from; default: that of the settings, or me+gd,idk+ap, or with "
            "data.retain=model-answers me+kl,idk+kl.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            min=0,
            show_default=False,
            help="Time of the search, in minutes; the best trials are then scored.",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, show_default=False, help="Total number of trials; default: 30."),
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="A YAML file with what is searched, such as `train.lr: {low: 1e-5, high: 1e-3, log: true}`.",
        ),
    ] = None,
    data_dir: options.DataDir = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a search, or join it as a further process.")
    ] = False,
) -> None:
    """Find the settings that forget most while the model keeps a share of its utility.

    Writes the settings to DIR/best.yaml, their model to DIR/model and a report to DIR/report.html. The scores are those
    of questions that the search never looked at. Exit code 3 if no model within the bound was found.
    """
    from efface.tuning.study import check_optuna

    check_optuna()
    source, pairs = options.source_and_pairs(settings)
    named = [each.strip() for each in (methods or "").split(",") if each.strip()]
    if methods is not None and not named:
        raise EffaceError("--methods names no method; give some such as me+gd,idk+ap, or leave it out")
    with options.interruptible(options.RESUME_REMEDY):
        from rich.console import Console

        from efface.progress.console import ConsoleReporter
        from efface.tuning.request import tuning_of
        from efface.tuning.search import tune as search

        asked = partial(tuning_of, source, keep=keep, methods=named, minutes=minutes, trials=trials, space=space)
        console = Console()
        with ConsoleReporter(console) as reporter:
            if source == "demo" and not any(each.startswith("model=") for each in pairs):
                from efface.demo import make_target
                from efface.files.folders import TunePaths

                target = TunePaths(out).target
                asked([*pairs, f"model={target / 'model'}"])  # refuse what is wrong before making it
                pairs = [*pairs, f"model={make_target(target, pairs, reporter=reporter)}"]
            results = search(asked(pairs), out, data_dir=data_dir, resume=resume, reporter=reporter)
        _print(console, results, out)


def _print(console: Console, results: Results, out: Path) -> None:
    from efface.files.folders import TunePaths
    from efface.report.terminal.results import print_results

    assert results.tune is not None
    found, paths = results.tune, TunePaths(out)
    print_results(console, {results.method: results})
    chosen = next(each for each in found.trials if each.number == found.chosen)
    assert chosen.best is not None
    shown = ", ".join(
        f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in chosen.settings.items()
    )
    typer.echo(f"trial {chosen.number} of {found.begun}, epoch {chosen.best.epoch}: {shown}")
    typer.echo(
        f"on retain questions that the search never saw, it keeps {found.kept:.3f} of the utility before unlearning; "
        f"the bound is {found.keep:g}"
    )
    typer.echo(found.forget_note)
    typer.echo(f"settings: {paths.best}\nmodel: {paths.model}\nreport: {paths.page}")
    typer.echo(f"next: {shlex.join(['efface', 'run', str(paths.best), '--out', f'{out}-again'])}")
    if not found.held:
        options.print_message(
            f"no model within the bound of --keep {found.keep:g} was found; the nearest one was left, and {paths.page} "
            "explains it: allow more trials with --resume, or lower --keep"
        )
        raise typer.Exit(NOT_HELD)
