"""The commands `data list`, `data fetch`, `data check` and `data describe`; those that ask a model are in questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from efface.cli.common import completion
from efface.cli.common.options import DataDir, Json, Settings, examples, help_of, interruptible, say, source_and_pairs
from efface.cli.data import ask

if TYPE_CHECKING:
    from efface.data.config import DataConfig
    from efface.schema import Task

app = typer.Typer()
data = typer.Typer()
app.add_typer(data, name="data")
data.add_typer(ask.app)


@data.callback(
    invoke_without_command=True,
    epilog=examples(
        "efface data list",
        "efface data fetch tofu",
        "efface data check data.forget=gone.csv data.retain=kept.csv",
        "efface data describe data.forget=gone.csv data.retain=kept.csv model=path/to/model",
        "efface data probe model=path/to/model --out runs/known",
    ),
)
def _data(ctx: typer.Context) -> None:
    """List, fetch, check and describe data; make it of what a model says and knows."""
    help_of(ctx)


@data.command(name="list", epilog=examples("efface data list", "efface data list --data-dir path/to/benchmarks"))
def list_(data_dir: DataDir = None) -> None:
    """Say which data sets there are, and where."""
    from rich.console import Console

    from efface.data.sources.catalog import list_data
    from efface.report.key_values import print_key_values

    console = Console()
    for each in list_data(data_dir):
        facts = [("about", each.about), ("questions", each.questions), ("use", " or ".join(each.settings))]
        if each.folder is not None:
            there = {
                "complete": f"{each.folder}",
                "partial": f"only in part, in {each.folder}; `efface data fetch {each.name}` gets the rest",
                "absent": f"not here; `efface data fetch {each.name}` gets it",
            }
            facts.append(("here", there[each.status]))
        print_key_values(console, each.name, [*facts, ("source", each.source), ("license", each.license)])


@data.command(
    epilog=examples(
        "efface data fetch tofu",
        "efface data fetch all --data-dir path/to/benchmarks",
        "efface data fetch real-world --mirror https://mirror.example.org/efface",
    )
)
def fetch(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            show_default=False,
            autocompletion=completion.benchmarks,
            help="What to fetch, as `efface data list` calls it, or all.",
        ),
    ],
    data_dir: DataDir = None,
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="EFFACE_MIRROR",
            help="Where else the same folders lie; HTTPS_PROXY names a proxy.",
        ),
    ] = None,
) -> None:
    """Download published benchmarks.

    Each file is checked to be the published one; a fetch that was interrupted goes on when it is started again.
    """
    from efface.data.sources.download import fetch as fetch_files
    from efface.data.sources.published import default_data_folder, find_benchmark, published_benchmarks

    chosen = [*published_benchmarks()] if "all" in names else [*dict.fromkeys(names)]
    benchmarks = [find_benchmark(name) for name in chosen]
    with interruptible("the same command goes on from here"):
        from rich.console import Console

        from efface.cli.data.download_bars import shown_downloads

        console = Console()
        for benchmark in benchmarks:
            with shown_downloads(console) as progress_bar:
                found = fetch_files(
                    benchmark, data_dir or default_data_folder(), mirror=mirror, progress_bar=progress_bar
                )
            news = f"{len(found.downloaded)} of {len(benchmark.files)} files downloaded"
            typer.echo(f"{benchmark.name}: {found.folder} ({news})")


@data.command(
    epilog=examples(
        "efface data check data.forget=gone.csv",
        "efface data check data.forget=gone.csv data.forget.columns.question=prompt",
        "efface data check data.forget=gone.csv model=path/to/model",
        "efface data check mine.yaml",
        "efface data check tofu-forget01",
    )
)
def check(settings: Settings = None, data_dir: DataDir = None) -> None:
    """Read data as a run would, and say if it can be used.

    Neither model nor method is needed. Where a model is named, everything is tokenized, too, and must fit it;
    model=null leaves that out.
    """
    from efface.config.presets import data_inspection_config
    from efface.data import load_task
    from efface.data.config import MODEL_ANSWERS

    config = data_inspection_config(*source_and_pairs(settings))
    task = load_task(config.data, data_dir=data_dir)
    if config.model is not None:
        from efface.preflight.token_lengths import check_tokens

        check_tokens(task, config, config.model)
    _warn(task, config.data)
    kept = f"{len(task.retain):,}"
    if config.data.retain == MODEL_ANSWERS:
        kept = f"the model's answers to {config.data.generic_questions} questions"
    elif not task.retain:
        kept = "nothing"
    scored = ", ".join(f"{each.name} {len(each.items):,}" for each in task.evaluation)
    typer.echo(f"{task.name} can be used: {len(task.forget):,} to forget, {kept} to keep; scored: {scored}")


@data.command(
    epilog=examples(
        "efface data describe data.forget=gone.csv data.retain=kept.csv",
        "efface data describe tofu-forget01 model=path/to/model",
        "efface data describe mine.yaml --json",
    )
)
def describe(settings: Settings = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Count and measure what is to be forgotten and kept.

    It tells lengths (in tokens of model=..., if one is named), repetitions, what forget and retain set share, and what
    can be scored.
    """
    from efface.config.presets import data_inspection_config
    from efface.data import load_task
    from efface.data.describe import describe as describe_task

    config = data_inspection_config(*source_and_pairs(settings))
    task = load_task(config.data, data_dir=data_dir)
    measure = None
    if config.model is not None:
        from efface.preflight.token_lengths import token_lengths

        measure = token_lengths(config.model, config.text)
    description = describe_task(task, embedder=config.evaluate.embedder, judge=config.evaluate.judge, measure=measure)
    if as_json:
        typer.echo(description.model_dump_json(indent=2))
        return
    from rich.console import Console

    from efface.cli.data.description import print_description

    _warn(task, config.data)
    print_description(Console(), description)


def _warn(task: Task, config: DataConfig) -> None:
    """Say what the user should hear about the data."""
    for warning in task.warnings:
        say(f"warning: {warning}")
    if not task.retain and config.retain is None:
        say(
            "warning: there is nothing to keep, so only methods that forget alone can be used (me, ga, npo and so on); "
            "give data.retain=FILE, or data.retain=model-answers for the model's own answers"
        )
