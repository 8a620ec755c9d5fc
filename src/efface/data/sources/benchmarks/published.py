"""The published benchmarks (`published.yaml`) and their local copies. No torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import Field

from efface.errors import EffaceError, suggest
from efface.files.safe_yaml import parse_own_yaml
from efface.frozen import FrozenModel

DownloadStatus = Literal["complete", "partial", "absent"]

PUBLISHED_REFUSALS = "idontknow.jsonl"
"""The file of the published refusals in the data folder. In spite of its name it is plain text, one on each line."""


class PublishedFile(FrozenModel):
    """One file of a benchmark."""

    size: int = Field(gt=0)
    """In bytes."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class PublishedBenchmark(FrozenModel):
    """One entry of `published.yaml`."""

    name: str
    folder: str
    """Its folder inside the data folder, below the source's URL and on a mirror."""
    about: str
    source: str
    """The URL that contains `folder`."""
    license: str
    files: dict[str, PublishedFile] = Field(min_length=1)
    shared_files: dict[str, PublishedFile] = Field(default={})
    """Files of several benchmarks, in the data folder itself and below the source's URL. They are fetched with the
    benchmark, and only `recipe=published` needs them: `download_status` does not count them."""


@cache
def published_benchmarks() -> Mapping[str, PublishedBenchmark]:
    """The benchmarks that can be downloaded, by name."""
    text = resources.files("efface.data.sources.benchmarks").joinpath("published.yaml").read_text(encoding="utf-8")
    return {name: PublishedBenchmark(name=name, **entry) for name, entry in parse_own_yaml(text).items()}


def find_benchmark(name: str) -> PublishedBenchmark:
    """Look up a benchmark.

    Args:
        name: Such as `tofu`.

    Returns:
        The benchmark.

    Raises:
        EffaceError: If there is no such benchmark.
    """
    try:
        return published_benchmarks()[name]
    except KeyError:
        raise EffaceError(f"unknown benchmark {name!r}: {suggest(name, published_benchmarks())}") from None


def default_data_folder() -> Path:
    """The default data folder: EFFACE_DATA, otherwise `data` in efface's cache folder of the user."""
    import platformdirs

    return Path(os.environ.get("EFFACE_DATA") or platformdirs.user_cache_path("efface", appauthor=False) / "data")


def missing_files(benchmark: PublishedBenchmark, folder: Path) -> tuple[str, ...]:
    """Find the files that are missing or have a different size; their content is not read.

    Args:
        benchmark: The benchmark.
        folder: The data folder.

    Returns:
        Names of these files.
    """
    return tuple(name for name, file in benchmark.files.items() if _size(folder / benchmark.folder / name) != file.size)


def download_status(benchmark: PublishedBenchmark, folder: Path) -> DownloadStatus:
    """Whether the data folder contains all, some or none of a benchmark's files, judged by names and sizes.

    Args:
        benchmark: The benchmark.
        folder: The data folder.

    Returns:
        `complete`, `partial` or `absent`; a file of another size counts as missing.
    """
    missing = missing_files(benchmark, folder)
    if not missing:
        return "complete"
    return "absent" if len(missing) == len(benchmark.files) else "partial"


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
