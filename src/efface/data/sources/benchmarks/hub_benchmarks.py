"""The benchmarks that are read from the hub (`hub_benchmarks.yaml`) and their local copies. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path

from pydantic import Field

from efface.data.config import FileConfig
from efface.data.readers.arrow import HUB, read_hub_dataset
from efface.data.readers.limits import Limits
from efface.data.readers.python_rows import to_json_lines
from efface.data.sources.benchmarks import published
from efface.data.sources.benchmarks.download import FetchResult
from efface.data.sources.benchmarks.published import DownloadStatus, PublishedBenchmark
from efface.errors import EffaceError, suggest
from efface.files.safe_yaml import parse_own_yaml
from efface.frozen import FrozenModel


class HubFile(FrozenModel):
    """A local file, and the split of a data set that it has the rows of."""

    repo: str | None = None
    """None for that of the benchmark."""
    subset: str | None = None
    split: str
    columns: tuple[str, ...] = Field(min_length=1)
    rows: int | None = None
    """The most rows, from the first on; None for all."""


class HubBenchmark(FrozenModel):
    """One entry of `hub_benchmarks.yaml`."""

    name: str
    folder: str
    """Its folder inside the data folder."""
    about: str
    questions: str
    repo: str
    """OWNER/NAME of the data set."""
    revision: str
    """Of `repo`."""
    license: str
    files: dict[str, HubFile] = Field(min_length=1)
    """Local files, without `.json`."""


@cache
def hub_benchmarks() -> Mapping[str, HubBenchmark]:
    """The benchmarks of the hub, by name."""
    text = resources.files("efface.data.sources.benchmarks").joinpath("hub_benchmarks.yaml").read_text(encoding="utf-8")
    return {name: HubBenchmark(name=name, **entry) for name, entry in parse_own_yaml(text).items()}


def find_benchmark_anywhere(name: str) -> PublishedBenchmark | HubBenchmark:
    """Look up a benchmark with published hashes, or one of the hub.

    Args:
        name: Such as `tofu` or `muse-news`.

    Returns:
        The benchmark.

    Raises:
        EffaceError: If there is no such benchmark.
    """
    known: dict[str, PublishedBenchmark | HubBenchmark] = {**published.published_benchmarks(), **hub_benchmarks()}
    if name not in known:
        raise EffaceError(f"unknown benchmark {name!r}: {suggest(name, known)}")
    return known[name]


def hub_status(benchmark: HubBenchmark, folder: Path) -> DownloadStatus:
    """Whether the data folder contains all, some or none of a benchmark's files, judged by names.

    Args:
        benchmark: The benchmark.
        folder: The data folder.

    Returns:
        `complete`, `partial` or `absent`.
    """
    present = sum((folder / benchmark.folder / f"{name}.json").is_file() for name in benchmark.files)
    return "complete" if present == len(benchmark.files) else "partial" if present else "absent"


def fetch_from_hub(benchmark: HubBenchmark, folder: Path) -> FetchResult:
    """Read the missing files of a benchmark from the hub, or from its cache, and write them as JSON lines.

    A file gets its name only when it is complete, so an interrupted download resumes with that file.

    Args:
        benchmark: The benchmark.
        folder: The data folder.

    Returns:
        The folder, and the names of its files.

    Raises:
        EffaceError: If the hub cannot be reached, a data set is gated or has other columns, or the folder cannot be
            written.
    """
    from efface.files.atomic import write_text

    target = folder / benchmark.folder
    present = [name for name in benchmark.files if (target / f"{name}.json").is_file()]
    missing = [name for name in benchmark.files if name not in present]
    for name in missing:
        text = _read(benchmark, benchmark.files[name])
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EffaceError(
                f"cannot write {target}: {error.strerror or error}; choose another folder with --data-dir"
            ) from error
        write_text(target / f"{name}.json", text)
    return FetchResult(target, tuple(missing), tuple(present))


def _read(benchmark: HubBenchmark, file: HubFile) -> str:
    """The rows of a split as JSON lines."""
    where = FileConfig(
        path=HUB + (file.repo or benchmark.repo),
        subset=file.subset,
        split=file.split,
        revision=None if file.repo else benchmark.revision,
    )
    try:
        table = read_hub_dataset(where, Limits(), first=file.rows)
        rows = [
            {column: row.value(column) for column in file.columns} for row in table.rows if _has_all(row.values, file)
        ]
    except EffaceError as error:
        raise EffaceError(
            f"{benchmark.name} cannot be fetched: {error}, and run `efface data fetch {benchmark.name}` again"
        ) from error
    if not rows:
        raise EffaceError(
            f"{table.name} has no row with {' and '.join(file.columns)} (columns: {', '.join(table.rows[0].values)}); "
            "the data set has changed, so write the files yourself as the documentation of this benchmark says"
        )
    return to_json_lines(benchmark.name, rows)


def _has_all(values: Mapping[str, object], file: HubFile) -> bool:
    return all(column in values for column in file.columns)
