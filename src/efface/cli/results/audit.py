"""`efface audit`: whether what a run made a model forget can be brought back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from efface.cli.common import completion, options

app = typer.Typer()


@app.command(
    epilog=options.examples(
        "efface audit runs/first",
        "efface audit runs/first --against runs/retrained audit.level=standard",
        "efface audit runs/first audit.attacks=asks audit.minutes=10 --json",
    )
)
def audit(
    run: Annotated[Path, options.run_argument("The folder of a finished run, or of one request of a queue.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            show_default=False,
            autocompletion=completion.pairs,
            help="audit.level=quick|standard|full, audit.minutes=N, audit.attacks=asks|weights|both|NAME,..., "
            "audit.seed=N, plugins=FILE, device=cpu|cuda.",
        ),
    ] = None,
    *,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="DIR",
            help="A run, a fine-tuning or a model that never knew the facts, as `efface finetune ... --without forget` "
            "makes it. It is attacked in the same way, and what comes back from it are guesses.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Write rows and results there, and leave the run as it is.", show_default=False
        ),
    ] = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Try to bring back what a run made its model forget.

    Prompts the model in other ways, changes its weights and trains it a little, then counts how many of the facts that
    it knew before come back, and how many from a control. The results become part of the run's results.json and report.
    An interrupted audit is continued. Nothing found does not mean that nothing is left.
    """
    from efface.auditing.config import AuditConfig
    from efface.config.resolve import resolve_config

    config = resolve_config(AuditConfig, None, words or [])
    with options.interruptible("run the same command again to continue; finished attacks are kept"):
        from rich.console import Console

        from efface.auditing.audit import audit as audit_run
        from efface.files.atomic import to_json
        from efface.progress.console import ConsoleReporter

        with ConsoleReporter(Console(stderr=as_json)) as reporter:
            results = audit_run(config, run, against=against, out=out, data_dir=data_dir, reporter=reporter)
        if as_json:
            typer.echo(to_json(results.model_dump(mode="json")), nl=False)
            return
        from efface.report.terminal.audit import print_audit

        print_audit(Console(), results)
    typer.echo(f"rows: {(out or run / 'audit') / 'rows.jsonl'}")
