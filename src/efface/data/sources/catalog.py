"""All data sets with a name, and their local copies. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from efface.data.config import SHORTHANDS, DataConfig
from efface.data.sources.benchmarks.hub_benchmarks import hub_benchmarks, hub_status
from efface.data.sources.benchmarks.published import (
    DownloadStatus,
    default_data_folder,
    download_status,
    published_benchmarks,
)
from efface.data.sources.synthetic_authors import MAX_AUTHORS, load_word_lists


@dataclass(frozen=True)
class CatalogEntry:
    """One data set, as `efface data list` shows it."""

    name: str
    """The argument of `efface data fetch`; `synthetic-authors` and `files` need no download."""
    about: str
    settings: tuple[str, ...]
    """The settings that select it."""
    questions: str
    source: str
    license: str
    folder: Path | None
    """Folder of its local copy; None if it needs none."""
    status: DownloadStatus
    """How much of it is in `folder`."""


_QUESTIONS: dict[str, str] = {
    "tofu": "4,000, of which a task forgets 40, 200 or 400",
    "real-world": "1,200: 400 to forget, 400 to retain and 400 to score",
}


def list_data(data_dir: Path | None) -> tuple[CatalogEntry, ...]:
    """List every data set.

    Args:
        data_dir: Folder that contains the benchmarks; None for the default data folder.

    Returns:
        The published benchmarks, those of the hub, then synthetic authors and files.
    """
    folder = data_dir or default_data_folder()
    benchmarks = tuple(
        CatalogEntry(
            name=benchmark.name,
            about=benchmark.about,
            settings=_shorthands(benchmark.name),
            questions=_QUESTIONS[benchmark.name],
            source=benchmark.source,
            license=benchmark.license,
            folder=folder / benchmark.folder,
            status=download_status(benchmark, folder),
        )
        for benchmark in published_benchmarks().values()
    )
    of_hub = tuple(
        CatalogEntry(
            name=benchmark.name,
            about=benchmark.about,
            settings=_shorthands(benchmark.name) or ("data.holdout=published",),
            questions=benchmark.questions,
            source=f"the data set {benchmark.repo} of the hub, revision {benchmark.revision}",
            license=benchmark.license,
            folder=folder / benchmark.folder,
            status=hub_status(benchmark, folder),
        )
        for benchmark in hub_benchmarks().values()
    )
    return (*benchmarks, *of_hub, _synthetic_authors(), _files())


def _synthetic_authors() -> CatalogEntry:
    defaults = DataConfig(source="synthetic-authors")
    per_author = len(load_word_lists().attributes)
    return CatalogEntry(
        name="synthetic-authors",
        about=f"up to {MAX_AUTHORS} authors made from word lists, with paraphrases, wrong answers and key facts",
        settings=_shorthands("synthetic-authors"),
        questions=f"{per_author} an author; {per_author * defaults.authors} with the default data.authors",
        source="efface itself",
        license="that of efface",
        folder=None,
        status="complete",
    )


def _files() -> CatalogEntry:
    return CatalogEntry(
        name="files",
        about="your own questions and answers, conversations or documents: JSON lines, JSON, CSV, TSV, Parquet, text, "
        "a folder of texts, a saved dataset, or hf:OWNER/NAME",
        settings=("data.forget=FILE data.retain=FILE", "data.forget=FILE data.retain=model-answers"),
        questions="as many as you have",
        source="you",
        license="yours",
        folder=None,
        status="complete",
    )


def _shorthands(name: str) -> tuple[str, ...]:
    """Settings of a source, or of one of its corpora."""
    return tuple(f"data={each}" for each, config in SHORTHANDS.items() if name in (config.source, each))
