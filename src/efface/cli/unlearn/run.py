"""`efface run` and `efface unlearn`: a model and data -> an unlearned model, with or without scores."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from efface.cli.common import options
from efface.cli.common.dry_run import show_dry_run
from efface.cli.unlearn.request import run_requests
from efface.files.folders import RunPaths

if TYPE_CHECKING:
    from efface.config.commands import RunConfig

app = typer.Typer()


@app.command(
    epilog=options.examples(
        "efface run tofu-forget01 method=me+gd model=path/to/model --out runs/first",
        "efface run tofu-forget05 recipe=published method=idk+ap model=path/to/model --out runs/second",
        "efface run data.forget=forget.csv data.retain=retain.csv method=me+gd model=path/to/model --out runs/custom",
        "efface run tofu-continual-forget01 method=me+gd model=path/to/model --out runs/queue",
        "efface run mine.yaml seed=1 --out runs/third --dry-run",
    )
)
def run(
    out: options.Out,
    settings: options.Settings = None,
    data_dir: options.DataDir = None,
    resume: options.Resume = False,
    dry_run: options.DryRun = False,
) -> None:
    """Unlearn, and evaluate before and after.

    With continual.requests, requests are unlearned one after another.
    """
    from efface.config.commands import RunConfig
    from efface.config.resolve import resolve_config

    config = resolve_config(RunConfig, *options.source_and_pairs(settings))
    if config.continual is not None:
        run_requests(config, out, data_dir=data_dir, resume=resume, dry_run=dry_run, remedy=options.RESUME_REMEDY)
        return
    if dry_run:
        from efface.preflight.dry_run import plan_run

        show_dry_run(partial(plan_run, config, out, data_dir=data_dir, resume=resume, evaluated=True))
        return
    with options.interruptible(options.RESUME_REMEDY):
        from rich.console import Console

        from efface.progress.console import ConsoleReporter
        from efface.report.terminal.results import print_results
        from efface.run.pipeline import run as run_pipeline

        console = Console()
        with ConsoleReporter(console) as reporter:
            results = run_pipeline(config, out, data_dir=data_dir, resume=resume, reporter=reporter)
        print_results(console, {config.method: results})
    if results.keep is not None:
        from efface.report.verdict_text import keep_sentence

        typer.echo(keep_sentence(results.keep))
    typer.echo(f"model: {RunPaths(out).model}\nscores: {RunPaths(out).results}")
    typer.echo(f"next: {shlex.join(['efface', 'report', str(out)])}")


@app.command(
    epilog=options.examples(
        "efface unlearn data.forget=forget.csv data.retain=model-answers method=me+kl model=path/to/model --out runs/a",
        "efface unlearn mine.yaml train.lora=true --out runs/adapted",
        "efface unlearn mine.yaml train.lora=true --out runs/adapted --resume",
    )
)
def unlearn(
    out: options.Out,
    settings: options.Settings = None,
    data_dir: options.DataDir = None,
    resume: options.Resume = False,
    dry_run: options.DryRun = False,
) -> None:
    """Unlearn without evaluating; `efface evaluate` does that later."""
    from efface.config.commands import RunConfig
    from efface.config.resolve import resolve_config

    config = resolve_config(RunConfig, *options.source_and_pairs(settings))
    if dry_run:
        from efface.preflight.dry_run import plan_run

        show_dry_run(partial(plan_run, config, out, data_dir=data_dir, resume=resume, evaluated=False))
        return
    with options.interruptible(options.RESUME_REMEDY):
        from rich.console import Console

        from efface.progress.console import ConsoleReporter
        from efface.run.pipeline import unlearn as unlearn_only

        with ConsoleReporter(Console()) as reporter:
            model = unlearn_only(config, out, data_dir=data_dir, resume=resume, reporter=reporter)
    typer.echo(f"model: {model}\nnext: {_evaluate_command(config, out, data_dir)}")


def _evaluate_command(config: RunConfig, out: Path, data_dir: Path | None) -> str:
    """The command line that evaluates the model that `unlearn` wrote to `out`."""
    from efface.data.config import MODEL_ANSWERS

    words = ["efface", "evaluate", str(RunPaths(out).config), f"model={RunPaths(out).model}"]
    if config.data.retain == MODEL_ANSWERS:
        words.append(f"data.retain={out / 'model_answers.jsonl'}")
        for name in ("generic_questions", "known_facts"):  # which have no meaning for a file
            default = type(config.data).model_fields[name].default
            if getattr(config.data, name) != default:
                words.append(f"data.{name}={default}")
    if data_dir is not None:
        words += ["--data-dir", str(data_dir)]
    return shlex.join([*words, "--out", f"{out}-scores"])
