"""Fetch the published benchmarks (`published_benchmarks.yaml`), from their place or a mirror. No torch."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import yaml
from pydantic import Field

from efface.errors import EffaceError, suggest
from efface.frozen import FrozenModel

if TYPE_CHECKING:
    from requests import RequestException

Progress = Callable[[str, int, int], None]
"""Told the file's name, how many of its bytes were written so far, and its size; a second attempt starts at 0 again."""

_SECONDS_TO_CONNECT, _SECONDS_OF_SILENCE = 10, 30
_RETRIES = 2
_CHUNK_BYTES = 1 << 16
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, *range(500, 600)})
"""HTTP errors that may pass; the others, such as 404, stay what they are."""


class PublishedFile(FrozenModel):
    """One file as it was published."""

    size: int = Field(gt=0)
    """In bytes."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class PublishedBenchmark(FrozenModel):
    """What `published_benchmarks.yaml` says of one benchmark."""

    name: str
    folder: str
    """Its folder below the data folder, at its source and on a mirror."""
    about: str
    source: str
    """The URL below which `folder` lies."""
    license: str
    files: dict[str, PublishedFile] = Field(min_length=1)


@dataclass(frozen=True)
class FetchResult:
    """Where a benchmark now lies, and which of its files were downloaded or there before."""

    folder: Path
    downloaded: tuple[str, ...]
    kept: tuple[str, ...]


@cache
def published_benchmarks() -> Mapping[str, PublishedBenchmark]:
    """Return the benchmarks that can be fetched, by name."""
    text = resources.files("efface.data.sources").joinpath("published.yaml").read_text(encoding="utf-8")
    return {name: PublishedBenchmark(name=name, **entry) for name, entry in yaml.safe_load(text).items()}


def find_benchmark(name: str) -> PublishedBenchmark:
    """Return the benchmark called `name`; raises `EffaceError` for any other name."""
    try:
        return published_benchmarks()[name]
    except KeyError:
        raise EffaceError(f"unknown benchmark {name!r}: {suggest(name, published_benchmarks())}") from None


def default_data_folder() -> Path:
    """Return the data folder where nobody names one: EFFACE_DATA, else `data` in efface's cache folder of this user."""
    import platformdirs

    return Path(os.environ.get("EFFACE_DATA") or platformdirs.user_cache_path("efface", appauthor=False) / "data")


def missing_files(benchmark: PublishedBenchmark, folder: Path) -> tuple[str, ...]:
    """Return the files that the data folder `folder` lacks or has in another size; contents are not read."""
    return tuple(name for name, file in benchmark.files.items() if _size(folder / benchmark.folder / name) != file.size)


def download_status(benchmark: PublishedBenchmark, folder: Path) -> Literal["complete", "partial", "absent"]:
    """Say how much of a benchmark the data folder `folder` has, going by names and sizes."""
    missing = missing_files(benchmark, folder)
    if not missing:
        return "complete"
    return "absent" if len(missing) == len(benchmark.files) else "partial"


def fetch(
    benchmark: PublishedBenchmark, folder: Path, *, mirror: str | None = None, progress: Progress | None = None
) -> FetchResult:
    """Download the files of `benchmark` that the data folder `folder` lacks, and check the SHA-256 of all.

    A file gets its name only when it is whole and right, so an interrupted fetch goes on with the file it stopped at.
    `mirror` is a base URL to use instead of `benchmark.source`; None reads the environment variable EFFACE_MIRROR.
    Proxies, certificates and passwords come from where `requests` looks for them: HTTPS_PROXY, NO_PROXY,
    REQUESTS_CA_BUNDLE, ~/.netrc.

    Raises `EffaceError` for a file that is there but is another one (it is left as it is, and nothing is downloaded),
    a place that cannot be reached or serves something else, and a folder that cannot be written.
    """
    base = _base_url(benchmark, mirror)
    place = folder / benchmark.folder
    kept = tuple(name for name, file in benchmark.files.items() if _is_there(place / name, file))
    wanted = tuple(name for name in benchmark.files if name not in kept)
    for name in wanted:
        _download(benchmark, name, place, base, progress)
    return FetchResult(place, downloaded=wanted, kept=kept)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_there(path: Path, file: PublishedFile) -> bool:
    """Say whether the published file is at `path` already; anything else at `path` is refused."""
    try:
        found = _sha256(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise EffaceError(
            f"cannot read {path}: {error.strerror or error}; give another folder with --data-dir"
        ) from error
    if found != file.sha256:
        raise EffaceError(
            f"{path} is there but is not the published file (its SHA-256 is {found}, not {file.sha256}): move it away, "
            "or give another folder with --data-dir"
        )
    return True


def _base_url(benchmark: PublishedBenchmark, mirror: str | None) -> str:
    base = mirror or os.environ.get("EFFACE_MIRROR") or benchmark.source
    if not re.match(r"https?://[^/\s]", base):
        raise EffaceError(
            f"the mirror {base!r} is no web address: give --mirror (or EFFACE_MIRROR) the http:// or https:// URL "
            f"below which {benchmark.folder}/ lies"
        )
    return base.rstrip("/")


def _download(benchmark: PublishedBenchmark, name: str, place: Path, base: str, progress: Progress | None) -> None:
    """Let pooch download one file beside its place, check it and move it there."""
    import pooch
    import requests

    file = benchmark.files[name]
    source = pooch.create(
        path=place,
        base_url=f"{base}/{benchmark.folder}",
        registry={name: f"sha256:{file.sha256}"},
        retry_if_failed=_RETRIES,
    )
    try:
        with _quiet(pooch.get_logger()):
            source.fetch(name, downloader=_Downloader(name, file, progress))
    except requests.RequestException as error:
        raise EffaceError(
            f"cannot fetch {benchmark.folder}/{name} from {_shown(base)}: {_reason(error)}; check the network and "
            f"HTTPS_PROXY, or name a mirror with --mirror or EFFACE_MIRROR, and run `efface data fetch "
            f"{benchmark.name}` again, which goes on from here"
        ) from error
    except OSError as error:
        raise EffaceError(
            f"cannot write {place / name}: {error.strerror or 'no right to write there'}; free some space or choose "
            "another folder with --data-dir"
        ) from error


@dataclass(frozen=True)
class _Downloader:
    """Download one file for pooch, which tries again after the errors of `requests` and no others.

    What another attempt cannot mend raises `EffaceError` here for that reason.
    """

    name: str
    file: PublishedFile
    progress: Progress | None

    def __call__(self, url: str, output_file: str, _pooch: object) -> None:
        import pooch
        import requests

        path = Path(output_file)
        get = pooch.HTTPDownloader(timeout=(_SECONDS_TO_CONNECT, _SECONDS_OF_SILENCE), chunk_size=_CHUNK_BYTES)
        try:
            with path.open("wb") as stream:
                get(url, _Counted(stream, self.name, self.file.size, self.progress), None)
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code in _WORTH_ANOTHER_TRY:
                raise
            raise EffaceError(
                f"{_shown(url)} cannot be had ({_reason(error)}): name a mirror that has it with --mirror or "
                "EFFACE_MIRROR"
            ) from error
        if (found := _sha256(path)) != self.file.sha256:
            raise EffaceError(
                f"{_shown(url)} is not the published file (its SHA-256 is {found}, not {self.file.sha256}) and was "
                "not kept: name another mirror with --mirror or EFFACE_MIRROR"
            )
        path.chmod(0o644)  # pooch's temporary files are for their owner alone, but data folders are shared


@dataclass
class _Counted:
    """A file to write to that reports how much was written."""

    stream: BinaryIO
    name: str
    size: int
    progress: Progress | None
    written: int = 0

    def write(self, chunk: bytes) -> None:
        self.stream.write(chunk)
        self.written += len(chunk)
        if self.progress:
            self.progress(self.name, self.written, self.size)

    def flush(self) -> None:
        self.stream.flush()


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep pooch from writing to stderr, where the caller shows the progress."""
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def _reason(error: RequestException) -> str:
    import requests

    match error:
        case requests.HTTPError(response=requests.Response() as response):
            return f"HTTP {response.status_code}"
        case requests.exceptions.ProxyError():
            return "the proxy cannot be used"
        case requests.exceptions.SSLError():
            return "its certificate is not trusted (REQUESTS_CA_BUNDLE names your own certificates)"
        case requests.Timeout():
            return "no answer in time"
        case requests.ConnectionError() | requests.exceptions.ChunkedEncodingError():
            return "the connection failed"
        case _:
            return f"the download failed ({type(error).__name__})"


def _shown(url: str) -> str:
    """Leave out the password that a mirror's URL may hold."""
    return re.sub(r"//[^/]*@", "//", url)
