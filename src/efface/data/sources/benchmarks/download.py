"""Download the published benchmarks, from their source or a mirror. No torch."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from efface.data.sources.benchmarks.published import PublishedBenchmark, PublishedFile
from efface.errors import EffaceError

if TYPE_CHECKING:
    from requests import RequestException

_CONNECT_TIMEOUT, _READ_TIMEOUT = 10, 30
"""In seconds."""
_RETRIES = 2
_CHUNK_BYTES = 1 << 16
_RETRIED_STATUS_CODES = frozenset({408, 425, 429, *range(500, 600)})
"""HTTP errors that may be temporary."""


class ProgressBar(Protocol):
    """The part of tqdm's interface that pooch calls."""

    total: float
    """Set by pooch to the Content-Length: less than the file's size if the server compresses it."""

    def update(self, n: float, /) -> object:
        """Add `n` bytes."""

    def reset(self) -> object:
        """Start again from 0 bytes."""

    def close(self) -> object:
        """Finish the bar; the file is complete."""


MakeProgressBar = Callable[[str, int], ProgressBar]
"""Makes the progress bar of one attempt to download a file, from the file's name and size in bytes."""


@dataclass(frozen=True)
class FetchResult:
    """The local copy of a benchmark, and its files that were downloaded or already present."""

    folder: Path
    downloaded: tuple[str, ...]
    already_present: tuple[str, ...]


@dataclass(frozen=True)
class _Wanted:
    """A file to download."""

    name: str
    file: PublishedFile
    folder: Path
    """Where it goes."""
    below: str
    """The folder below the base URL, with a slash at the end; empty for none."""


def fetch(
    benchmark: PublishedBenchmark,
    folder: Path,
    *,
    mirror: str | None = None,
    progress_bar: MakeProgressBar | None = None,
) -> FetchResult:
    """Download the missing files of a benchmark and check the SHA-256 of all.

    A file gets its name only when it is complete and correct, so an interrupted download resumes with that file.
    Proxies, certificates and passwords are those of `requests`: HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE, ~/.netrc.

    Args:
        benchmark: The benchmark.
        folder: The data folder.
        mirror: A base URL to use instead of `benchmark.source`; None reads the environment variable EFFACE_MIRROR.
        progress_bar: Makes the progress bar of a file; None shows none.

    Returns:
        The folder, and the names of its files.

    Raises:
        EffaceError: If a file exists with a different content (it is not changed, and nothing is downloaded), the
            server cannot be reached or has a different file, or the folder cannot be written.
    """
    base = _base_url(benchmark, mirror)
    target = folder / benchmark.folder
    files = [_Wanted(name, file, target, f"{benchmark.folder}/") for name, file in benchmark.files.items()]
    files += [_Wanted(name, file, folder, "") for name, file in benchmark.shared_files.items()]
    present = [each for each in files if _is_present(each.folder / each.name, each.file)]
    missing = [each for each in files if each not in present]
    for each in missing:
        _download(benchmark, each, base, progress_bar)
    return FetchResult(target, tuple(each.name for each in missing), tuple(each.name for each in present))


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_present(path: Path, file: PublishedFile) -> bool:
    """Whether the published file exists at `path`; raises `EffaceError` if `path` is anything else."""
    try:
        sha256 = _sha256(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise EffaceError(
            f"cannot read {path}: {error.strerror or error}; give another folder with --data-dir"
        ) from error
    if sha256 != file.sha256:
        raise EffaceError(
            f"{path} exists but is not the published file (its SHA-256 is {sha256}, not {file.sha256}): move it away, "
            "or give another folder with --data-dir"
        )
    return True


def _base_url(benchmark: PublishedBenchmark, mirror: str | None) -> str:
    base = mirror or os.environ.get("EFFACE_MIRROR") or benchmark.source
    if not re.match(r"https?://[^/\s]", base):
        raise EffaceError(
            f"the mirror {base!r} is not a URL: give --mirror (or EFFACE_MIRROR) the http:// or https:// URL "
            f"that contains {benchmark.folder}/"
        )
    return base.rstrip("/")


def _download(benchmark: PublishedBenchmark, wanted: _Wanted, base: str, progress_bar: MakeProgressBar | None) -> None:
    """Download one file to a temporary file, check it and move it to its folder."""
    import pooch
    import requests

    name, file = wanted.name, wanted.file
    source = pooch.create(
        path=wanted.folder,
        base_url=f"{base}/{wanted.below}",
        registry={name: f"sha256:{file.sha256}"},
        retry_if_failed=_RETRIES,
    )
    try:
        with _silenced(pooch.get_logger()):
            source.fetch(name, downloader=_Downloader(name, file, progress_bar))
    except requests.RequestException as error:
        raise EffaceError(
            f"cannot fetch {wanted.below}{name} from {_without_password(base)}: {_reason(error)}; check the "
            "network and HTTPS_PROXY, or name a mirror with --mirror or EFFACE_MIRROR, and run `efface data fetch "
            f"{benchmark.name}` again, which resumes with this file"
        ) from error
    except OSError as error:
        raise EffaceError(
            f"cannot write {wanted.folder / name}: {error.strerror or 'permission denied'}; free some space or choose "
            "another folder with --data-dir"
        ) from error


@dataclass(frozen=True)
class _Downloader:
    """Download one file for pooch, which retries after errors of `requests`.

    Errors that a retry cannot fix are raised as `EffaceError`, which pooch does not catch.
    """

    name: str
    file: PublishedFile
    progress_bar: MakeProgressBar | None

    def __call__(self, url: str, output_file: str, _pooch: object) -> None:
        import pooch
        import requests

        path = Path(output_file)
        http = pooch.HTTPDownloader(
            progressbar=self.progress_bar(self.name, self.file.size) if self.progress_bar else False,
            chunk_size=_CHUNK_BYTES,
            timeout=(_CONNECT_TIMEOUT, _READ_TIMEOUT),
        )
        try:
            http(url, output_file, None)
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code in _RETRIED_STATUS_CODES:
                raise
            raise EffaceError(
                f"{_without_password(url)} cannot be downloaded ({_reason(error)}): name a mirror that has it with "
                "--mirror or EFFACE_MIRROR"
            ) from error
        if (sha256 := _sha256(path)) != self.file.sha256:
            raise EffaceError(
                f"{_without_password(url)} is not the published file (its SHA-256 is {sha256}, not {self.file.sha256}) "
                "and was deleted: name another mirror with --mirror or EFFACE_MIRROR"
            )
        path.chmod(0o644)  # only the owner can read pooch's temporary files, but data folders are shared


@contextmanager
def _silenced(logger: logging.Logger) -> Iterator[None]:
    """Keep pooch from logging to stderr, where the progress is shown."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _reason(error: RequestException) -> str:
    import requests

    match error:
        case requests.HTTPError(response=requests.Response() as response):
            return f"HTTP {response.status_code}"
        case requests.exceptions.ProxyError():
            return "the proxy cannot be used"
        case requests.exceptions.SSLError():
            return "its certificate is not trusted (set REQUESTS_CA_BUNDLE to your certificates)"
        case requests.Timeout():
            return "no answer in time"
        case requests.ConnectionError() | requests.exceptions.ChunkedEncodingError():
            return "the connection failed"
        case _:
            return f"the download failed ({type(error).__name__})"


def _without_password(url: str) -> str:
    """Remove the user name and password that a mirror's URL may contain."""
    return re.sub(r"//[^/]*@", "//", url)
