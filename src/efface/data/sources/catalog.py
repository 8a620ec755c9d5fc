"""Every data set that efface knows by name, and where it is. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from efface.data.config import SHORTHANDS, DataConfig
from efface.data.sources.download import default_data_folder, download_status, published_benchmarks
from efface.data.sources.synthetic_authors import MAX_AUTHORS, load_word_lists

Presence = Literal["complete", "partial", "absent"]


@dataclass(frozen=True)
class CatalogEntry:
    """One source of data as `efface data list` tells of it."""

    name: str
    """What `efface data fetch` calls it; `synthetic-authors` and `files` need no fetching."""
    about: str
    settings: tuple[str, ...]
    """What `data=` may be to use it."""
    questions: str
    source: str
    license: str
    folder: Path | None
    """Where it lies or would lie; None for what is in no folder of efface's."""
    presence: Presence
    """How much of it is in `folder`."""


_QUESTIONS: dict[str, str] = {
    "tofu": "4,000, of which a task forgets 40, 200 or 400",
    "real-world": "1,200, of which 400 are forgotten, 400 kept and 400 scored",
}


def list_data(data_dir: Path | None) -> tuple[CatalogEntry, ...]:
    """Return every data set; `data_dir` holds the benchmarks, None takes where they are fetched to."""
    folder = data_dir or default_data_folder()
    benchmarks = tuple(
        CatalogEntry(
            name=each.name,
            about=each.about,
            settings=_shorthands(each.name),
            questions=_QUESTIONS[each.name],
            source=each.source,
            license=each.license,
            folder=folder / each.folder,
            presence=download_status(each, folder),
        )
        for each in published_benchmarks().values()
    )
    return (*benchmarks, _generated(), _files())


def _generated() -> CatalogEntry:
    defaults = DataConfig(source="synthetic-authors")
    per_author = len(load_word_lists().attributes)
    return CatalogEntry(
        name="synthetic-authors",
        about=f"authors made up from word lists, up to {MAX_AUTHORS}, with paraphrases, wrong answers and key facts",
        settings=_shorthands("synthetic-authors"),
        questions=f"{per_author} an author; {per_author * defaults.authors} unless data.authors says otherwise",
        source="efface itself",
        license="that of efface",
        folder=None,
        presence="complete",
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
        presence="complete",
    )


def _shorthands(source: str) -> tuple[str, ...]:
    return tuple(f"data={name}" for name, config in SHORTHANDS.items() if config.source == source)
