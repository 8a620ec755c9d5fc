"""Commands that train a model: run, unlearn, finetune, demo."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from efface.cli.common.dry_run import show_dry_run
from efface.cli.common.options import DataDir, DryRun, Out, Resume, Settings, examples, interruptible, source_and_pairs
from efface.cli.unlearn.request import run_requests
from efface.folders import RunPaths

if TYPE_CHECKING:
    from efface.config.commands import RunConfig

app = typer.Typer()

_RESUMED = "go on with --resume"


@app.command(
    epilog=examples(
        "efface run tofu-forget01 method=me+gd model=path/to/model --out runs/first",
        "efface run tofu-forget05 recipe=published method=idk+ap model=path/to/model --out runs/second",
        "efface run data.forget=gone.csv data.retain=kept.csv method=me+gd model=path/to/model --out runs/own",
        "efface run tofu-continual-forget01 method=me+gd model=path/to/model --out runs/queue",
        "efface run mine.yaml seed=1 --out runs/third --dry-run",
    )
)
def run(
    out: Out, settings: Settings = None, data_dir: DataDir = None, resume: Resume = False, dry_run: DryRun = False
) -> None:
    """Unlearn, and evaluate before and after; several requests in turn where continual.requests has them."""
    from efface.config.presets import run_config

    config = run_config(*source_and_pairs(settings))
    if config.continual is not None:
        run_requests(config, out, data_dir=data_dir, resume=resume, dry_run=dry_run, remedy=_RESUMED)
        return
    if dry_run:
        from efface.preflight.dry_run import plan_run

        show_dry_run(partial(plan_run, config, out, data_dir=data_dir, resume=resume, evaluated=True))
        return
    with interruptible(_RESUMED):
        from rich.console import Console

        from efface.progress.console import ConsoleReporter
        from efface.report.terminal.results import print_results
        from efface.run.pipeline import run as run_pipeline

        console = Console()
        with ConsoleReporter(console) as reporter:
            results = run_pipeline(config, out, data_dir=data_dir, resume=resume, reporter=reporter)
        print_results(console, {config.method: results})
    typer.echo(f"model: {RunPaths(out).model}\nscores: {RunPaths(out).results}")
    typer.echo(f"next: {shlex.join(['efface', 'report', str(out)])}")


@app.command(
    epilog=examples(
        "efface unlearn data.forget=gone.csv data.retain=model-answers method=me+gd model=path/to/model --out runs/gone",
        "efface unlearn mine.yaml train.lora=true --out runs/adapted",
        "efface unlearn mine.yaml train.lora=true --out runs/adapted --resume",
    )
)
def unlearn(
    out: Out, settings: Settings = None, data_dir: DataDir = None, resume: Resume = False, dry_run: DryRun = False
) -> None:
    """Unlearn without evaluating; `efface evaluate` does that later."""
    from efface.config.presets import run_config

    config = run_config(*source_and_pairs(settings))
    if dry_run:
        from efface.preflight.dry_run import plan_run

        show_dry_run(partial(plan_run, config, out, data_dir=data_dir, resume=resume, evaluated=False))
        return
    with interruptible(_RESUMED):
        from rich.console import Console

        from efface.progress.console import ConsoleReporter
        from efface.run.pipeline import unlearn as unlearn_alone

        with ConsoleReporter(Console()) as reporter:
            model = unlearn_alone(config, out, data_dir=data_dir, resume=resume, reporter=reporter)
    typer.echo(f"model: {model}\nnext: {_evaluation_of(config, out, data_dir)}")


@app.command(
    epilog=examples(
        "efface finetune tofu-forget01 model=path/to/base train.lr=1e-4 --out runs/target",
        "efface finetune tofu-forget05 model=path/to/base --without forget05 --out runs/retrained",
        "efface finetune real-world model=path/to/base --out runs/target --dry-run",
    )
)
def finetune(
    out: Out,
    settings: Settings = None,
    *,
    without: Annotated[
        str | None,
        typer.Option(
            metavar="forget|SPLIT",
            show_default=False,
            help="Leave out what is to be forgotten: `forget` for that of the data, or forget01, forget05 or forget10. "
            "That model never saw it, and unlearned ones can be compared with it.",
        ),
    ] = None,
    data_dir: DataDir = None,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Make a target model: fine-tune on everything the data holds."""
    from efface.config.presets import finetune_config

    source, pairs = source_and_pairs(settings)
    config = finetune_config(source, pairs if without is None else [*pairs, f"without={without}"])
    if dry_run:
        from efface.preflight.dry_run import plan_finetuning

        show_dry_run(partial(plan_finetuning, config, out, data_dir=data_dir, resume=resume))
        return
    with interruptible(_RESUMED):
        from rich.console import Console

        from efface.commands.finetune import finetune as run_finetune
        from efface.progress.console import ConsoleReporter

        with ConsoleReporter(Console()) as reporter:
            model = run_finetune(config, out, data_dir=data_dir, resume=resume, reporter=reporter)
    typer.echo(f"model: {model}")


@app.command(epilog=examples("efface demo", "efface demo --seed 3 --out runs/third-demo"))
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the demo's run folders go.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[
        int, typer.Option(metavar="N", help="Decides authors, weights and training.", min=0, max=2**32 - 1)
    ] = 0,
) -> None:
    """Show unlearning end to end, in minutes.

    A small model learns invented authors and forgets some of them, by the paper's two methods and two baselines.
    """
    with interruptible("the next demo starts anew"):
        from efface.demo import run_demo

        run_demo(out, seed=seed)


def _evaluation_of(config: RunConfig, out: Path, data_dir: Path | None) -> str:
    """The command that scores what `unlearn` left in `out`."""
    from efface.data.config import MODEL_ANSWERS

    words = ["efface", "evaluate", str(RunPaths(out).config), f"model={RunPaths(out).model}"]
    if config.data.retain == MODEL_ANSWERS:
        words.append(f"data.retain={out / 'model_answers.jsonl'}")
        default = type(config.data).model_fields["generic_questions"].default
        if config.data.generic_questions != default:  # which means nothing beside a file
            words.append(f"data.generic_questions={default}")
    if data_dir is not None:
        words += ["--data-dir", str(data_dir)]
    return shlex.join([*words, "--out", f"{out}-scores"])
