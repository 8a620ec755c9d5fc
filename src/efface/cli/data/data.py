"""`efface data list`, `fetch` and `check`; `answers`, `alternatives` and `probe`, which run a model, are in `ask`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from efface.cli.common import completion
from efface.cli.common.options import (
    DataDir,
    Json,
    Settings,
    add_group,
    examples,
    interruptible,
    print_message,
    source_and_pairs,
)
from efface.cli.data import ask

if TYPE_CHECKING:
    from efface.data.config import DataConfig
    from efface.schema import Task

app = typer.Typer()
data = add_group(
    app,
    "data",
    "List, download, check or generate data.",
    "efface data list",
    "efface data fetch tofu",
    "efface data check forget.csv",
    "efface data check data.forget=forget.csv data.retain=retain.csv model=path/to/model",
    "efface data probe model=path/to/model --out runs/known",
)
data.add_typer(ask.app)


@data.command(name="list", epilog=examples("efface data list", "efface data list --data-dir path/to/benchmarks"))
def list_(data_dir: DataDir = None) -> None:
    """List the available data sets and where they are."""
    from rich.console import Console

    from efface.data.sources.catalog import list_data
    from efface.report.terminal.key_values import print_key_values

    console = Console()
    for each in list_data(data_dir):
        facts = [("about", each.about), ("questions", each.questions), ("use", " or ".join(each.settings))]
        if each.folder is not None:
            status = {
                "complete": f"{each.folder}",
                "partial": f"incomplete, in {each.folder}; `efface data fetch {each.name}` downloads the rest",
                "absent": f"not downloaded; `efface data fetch {each.name}` downloads it",
            }
            facts.append(("location", status[each.status]))
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
            help="Names from `efface data list`, or all, for those with published hashes.",
        ),
    ],
    data_dir: DataDir = None,
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="EFFACE_MIRROR",
            help="Download from a mirror with the same folders; HTTPS_PROXY sets a proxy.",
        ),
    ] = None,
) -> None:
    """Download published benchmarks.

    Each file is verified against its published hash. Those of the Hugging Face hub have none (`efface data list` says
    which): a run's manifest has the hashes of what it read. An interrupted download continues when started again.
    """
    from efface.data.sources.benchmarks.download import fetch as fetch_files
    from efface.data.sources.benchmarks.hub_benchmarks import fetch_from_hub, find_benchmark_anywhere
    from efface.data.sources.benchmarks.published import PublishedBenchmark, default_data_folder, published_benchmarks

    chosen = [*published_benchmarks()] if "all" in names else [*dict.fromkeys(names)]
    benchmarks = [find_benchmark_anywhere(name) for name in chosen]
    with interruptible("the same command continues from here"):
        from rich.console import Console

        from efface.cli.data.download_bars import shown_downloads

        console = Console()
        folder = data_dir or default_data_folder()
        for benchmark in benchmarks:
            if isinstance(benchmark, PublishedBenchmark):
                with shown_downloads(console) as progress_bar:
                    fetched = fetch_files(benchmark, folder, mirror=mirror, progress_bar=progress_bar)
            else:
                fetched = fetch_from_hub(benchmark, folder)
            files = len(fetched.downloaded) + len(fetched.already_present)
            counts = f"{len(fetched.downloaded)} of {files} files downloaded"
            typer.echo(f"{benchmark.name}: {fetched.folder} ({counts})")


@data.command(
    epilog=examples(
        "efface data check forget.csv",
        "efface data check data.forget=forget.csv data.retain=retain.csv model=path/to/model",
        "efface data check data.forget=forget.csv data.forget.columns.question=prompt",
        "efface data check tofu-forget01 --json",
        "efface data check mine.yaml",
    )
)
def check(settings: Settings = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Check that a run could use this data, and show what is in it.

    Takes what efface run takes, or a file to forget. Shows lengths, repetitions, the overlap of both sets, which
    metrics can be computed, and the first items. If a model is given, everything is also tokenized and must fit its
    context length; model=null skips that. Without model and tokenizer, lengths are in characters.
    """
    from efface.config.data_commands import DataInspectionConfig
    from efface.config.resolve import resolve_config
    from efface.data import load_task
    from efface.data.describe import describe

    config = resolve_config(DataInspectionConfig, *_source_and_pairs(settings))
    task = load_task(config.data, data_dir=data_dir)
    measure = None
    if config.model is not None or config.tokenizer is not None:
        from efface.preflight.token_lengths import check_tokens, token_lengths

        for warning in check_tokens(task, config):
            if not as_json:
                print_message(f"warning: {warning}")
        measure = token_lengths(config)
    description = describe(task, embedder=config.evaluate.embedder, judge=config.evaluate.judge, measure=measure)
    if as_json:
        typer.echo(description.model_dump_json(indent=2))
        return
    from rich.console import Console

    from efface.cli.data.description import print_description

    _warn(task, config.data)
    typer.echo(_usable(task, config.data))
    print_description(Console(), description)


def _source_and_pairs(settings: list[str] | None) -> tuple[str | None, list[str]]:
    """As for a run; the first word may also be the file, folder or `hf:` dataset to forget."""
    from efface.data.readers.file_formats import TABLE_SUFFIXES, TEXT_SUFFIXES, format_suffix

    source, pairs = source_and_pairs(settings)
    if source is None:
        return source, pairs
    is_data = format_suffix(Path(source)) in (*TABLE_SUFFIXES, *TEXT_SUFFIXES)
    if is_data or source.startswith("hf:") or Path(source).is_dir():
        return None, [f"data.forget={source}", *pairs]
    return source, pairs


def _usable(task: Task, config: DataConfig) -> str:
    """What a run would train on and score."""
    from efface.data.config import MODEL_ANSWERS

    retain = f"{len(task.retain):,} in the retain set"
    if config.retain == MODEL_ANSWERS:
        retain = (
            f"the model's answers to {config.generic_questions} questions, and what it knows of {config.known_facts} "
            "well-known facts, as the retain set"
        )
    elif not task.retain:
        retain = "no retain set"
    scored = ", ".join(f"{each.name} {len(each.items):,}" for each in task.evaluation)
    return f"{task.name} can be used: {len(task.forget):,} in the forget set, {retain}; scored: {scored}"


def _warn(task: Task, config: DataConfig) -> None:
    """Print warnings about the data."""
    for warning in task.warnings:
        print_message(f"warning: {warning}")
    if not task.retain and config.retain is None:
        print_message(
            "warning: there is no retain set, so only methods without a retain regularizer (me, ga, npo, ...) can be "
            "used; set data.retain=FILE, or data.retain=model-answers for what the model says and knows"
        )
