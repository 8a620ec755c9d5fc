from __future__ import annotations

import errno
import gzip
import hashlib
import os
import resource
import socket
import stat
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from efface.data.sources.benchmarks.download import fetch
from efface.data.sources.benchmarks.published import (
    PUBLISHED_REFUSALS,
    PublishedBenchmark,
    PublishedFile,
    download_status,
    find_benchmark,
    missing_files,
    published_benchmarks,
)
from efface.errors import EffaceError
from support.messages import assert_names

CONTENTS = {name: f'{{"question": "{name}?"}}\n'.encode() * 9000 for name in ("one.json", "two.json", "three.json")}


class Server(ThreadingHTTPServer):
    """Serves `files` by path, compressed as the source of the benchmarks does, and counts the requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files = {f"/data/invented_people/{name}": content for name, content in CONTENTS.items()}
        self.requests: Counter[str] = Counter()
        self.broken: dict[str, int] = {}
        """Path -> number of further responses that end in the middle."""
        self.busy: dict[str, int] = {}
        """Path -> number of further responses with status 503."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests[self.path] += 1
        content = self.server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        if self.server.busy.get(self.path, 0) > 0:
            self.server.busy[self.path] -= 1
            return self.send_error(503)
        body = gzip.compress(content)
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        truncated = self.server.broken.get(self.path, 0) > 0
        self.server.broken[self.path] = self.server.broken.get(self.path, 0) - 1
        self.wfile.write(body[: len(body) // 2] if truncated else body)
        return None

    def do_CONNECT(self) -> None:
        self.server.requests[self.path] += 1
        self.send_error(502)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def benchmark(server: Server) -> PublishedBenchmark:
    return PublishedBenchmark(
        name="invented",
        folder="invented_people",
        about="three files",
        source=f"{server.url}/data/",
        license="none",
        files={
            name: PublishedFile(size=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in CONTENTS.items()
        },
    )


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no mirror, and no delay between attempts."""
    for name in os.environ:
        if name.lower().endswith("_proxy") or name in {"EFFACE_MIRROR", "EFFACE_DATA"}:
            monkeypatch.delenv(name)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def path(name: str) -> str:
    return f"/data/invented_people/{name}"


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder, including temporary ones."""
    return {entry.name: entry.read_bytes() for entry in folder.rglob("*") if entry.is_file()}


def fetch_error(benchmark: PublishedBenchmark, folder: Path, mirror: str | None = None) -> str:
    with pytest.raises(EffaceError) as caught:
        fetch(benchmark, folder, mirror=mirror)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_file_is_downloaded_once(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    assert download_status(benchmark, folder) == "absent"
    fetched = fetch(benchmark, folder)
    assert (fetched.folder, fetched.downloaded, fetched.already_present) == (
        folder / "invented_people",
        tuple(CONTENTS),
        (),
    )
    assert files(fetched.folder) == CONTENTS
    assert download_status(benchmark, folder) == "complete"

    again = fetch(benchmark, folder)
    assert (again.downloaded, again.already_present) == ((), tuple(CONTENTS))
    assert server.requests == {path(name): 1 for name in CONTENTS}


@dataclass
class RecordingBar:
    """A progress bar as pooch requires it; records its calls."""

    size: int
    total: float = 0
    calls: list[object] = field(default_factory=list)

    def update(self, n: float, /) -> None:
        self.calls.append(n)

    def reset(self) -> None:
        self.calls.append("reset")

    def close(self) -> None:
        self.calls.append("close")


def test_progress_bars_count_the_bytes_of_the_uncompressed_file(
    server: Server, benchmark: PublishedBenchmark, tmp_path: Path
) -> None:
    bars: list[tuple[str, RecordingBar]] = []

    def make_bar(name: str, size: int) -> RecordingBar:
        bars.append((name, RecordingBar(size)))
        return bars[-1][1]

    server.broken[path("two.json")] = 1
    fetch(benchmark, tmp_path, progress_bar=make_bar)
    assert [name for name, _ in bars] == ["one.json", "two.json", "two.json", "three.json"], "one bar per attempt"
    for name, bar in (bars[0], *bars[2:]):
        assert bar.size == len(CONTENTS[name])
        *chunks, reset, total, close = bar.calls
        assert (reset, total, close) == ("reset", bar.total, "close")
        assert len(chunks) == -(-bar.size // chunks[0]) > 1, "pooch reports whole chunks"
    assert "close" not in bars[1][1].calls


def test_nothing_is_printed(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    server.broken[path("one.json")] = 1
    script = (  # in a separate process, because pooch's logger keeps the stderr of the time of its import
        "import sys; from pathlib import Path; "
        "from efface.data.sources.benchmarks.download import PublishedBenchmark, fetch; "
        "fetch(PublishedBenchmark.model_validate_json(sys.argv[1]), Path(sys.argv[2]))"
    )
    arguments = [sys.executable, "-c", script, benchmark.model_dump_json(), str(tmp_path)]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")
    assert files(tmp_path) == CONTENTS


def test_others_can_read_the_files(benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    place = fetch(benchmark, tmp_path).folder
    assert {stat.S_IMODE(file.stat().st_mode) for file in place.iterdir()} == {0o644}


def test_an_interrupted_download_resumes(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    server.broken[path("two.json")] = 99
    message = fetch_error(benchmark, tmp_path)
    source = f"invented_people/two.json from {server.url}/data"
    assert_names(message, *[source, "the connection failed", "`efface data fetch invented`", "resumes"])
    assert files(tmp_path) == {"one.json": CONTENTS["one.json"]}
    assert download_status(benchmark, tmp_path) == "partial"
    assert missing_files(benchmark, tmp_path) == ("two.json", "three.json")
    assert server.requests == {path("one.json"): 1, path("two.json"): 3}

    server.broken.clear()
    fetched = fetch(benchmark, tmp_path)
    assert (fetched.downloaded, fetched.already_present) == (("two.json", "three.json"), ("one.json",))
    assert files(tmp_path) == CONTENTS
    assert server.requests == {path("one.json"): 1, path("two.json"): 4, path("three.json"): 1}


def test_temporary_errors_are_retried(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    server.broken[path("one.json")] = 1
    server.busy[path("two.json")] = 2
    fetch(benchmark, tmp_path)
    assert files(tmp_path) == CONTENTS
    assert server.requests == {path("one.json"): 2, path("two.json"): 3, path("three.json"): 1}


def test_an_interrupt_leaves_no_incomplete_file(benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    class Interrupt(RecordingBar):
        def update(self, n: float, /) -> None:
            raise KeyboardInterrupt

    def make_bar(name: str, size: int) -> RecordingBar:
        return (Interrupt if name == "two.json" else RecordingBar)(size)

    with pytest.raises(KeyboardInterrupt):
        fetch(benchmark, tmp_path, progress_bar=make_bar)
    assert files(tmp_path) == {"one.json": CONTENTS["one.json"]}


def test_a_file_with_another_hash_is_deleted(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    server.files[path("two.json")] = other = CONTENTS["two.json"].replace(b"?", b"!")
    message = fetch_error(benchmark, tmp_path)
    hashes = [hashlib.sha256(other).hexdigest(), benchmark.files["two.json"].sha256]
    assert_names(message, *[f"{server.url}{path('two.json')}", *hashes, "another mirror with --mirror"])
    assert files(tmp_path) == {"one.json": CONTENTS["one.json"]}
    assert server.requests[path("two.json")] == 1


def test_a_missing_file_is_not_retried(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    del server.files[path("one.json")]
    message = fetch_error(benchmark, tmp_path)
    assert_names(message, *[f"{server.url}{path('one.json')}", "HTTP 404", "--mirror or EFFACE_MIRROR"])
    assert files(tmp_path) == {}
    assert server.requests == {path("one.json"): 1}, "retrying would not help"


@pytest.mark.parametrize("problem", ["busy", "refused", "silent"])
def test_servers_that_do_not_answer(
    problem: str, server: Server, benchmark: PublishedBenchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if problem == "silent":  # the others answer, in their own time
        monkeypatch.setattr("efface.data.sources.benchmarks.download._READ_TIMEOUT", 0.05)
    server.busy[path("one.json")] = 99
    with socket.socket() as bound:  # nobody else gets the port
        bound.bind(("127.0.0.1", 0))
        if problem == "silent":
            bound.listen()
        mirror = None if problem == "busy" else f"http://127.0.0.1:{bound.getsockname()[1]}"
        message = fetch_error(benchmark, tmp_path, mirror)
    reason = {"busy": "HTTP 503", "refused": "the connection failed", "silent": "no answer in time"}[problem]
    assert_names(message, *[mirror or server.url, reason, "check the network", "HTTPS_PROXY"])
    assert files(tmp_path) == {}


def test_a_folder_that_is_a_file(benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    assert_names(fetch_error(benchmark, tmp_path / "data"), *[f"{tmp_path}/data", "another folder with --data-dir"])
    assert (tmp_path / "data").read_text() == "mine"


def test_a_present_file_is_not_downloaded(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    (tmp_path / "invented_people").mkdir()
    (tmp_path / "invented_people" / "three.json").write_bytes(CONTENTS["three.json"])
    fetched = fetch(benchmark, tmp_path)
    assert (fetched.downloaded, fetched.already_present) == (("one.json", "two.json"), ("three.json",))
    assert path("three.json") not in server.requests


def test_a_file_with_another_content_is_not_changed(
    server: Server, benchmark: PublishedBenchmark, tmp_path: Path
) -> None:
    existing = tmp_path / "invented_people" / "three.json"
    existing.parent.mkdir()
    existing.write_bytes(CONTENTS["three.json"].replace(b"?", b"!"))
    before = existing.read_bytes()
    message = fetch_error(benchmark, tmp_path)
    assert_names(message, *[str(existing), hashlib.sha256(before).hexdigest(), "move it away", "--data-dir"])
    assert files(tmp_path) == {"three.json": before}
    assert not server.requests


def test_a_full_disk(benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        message = fetch_error(benchmark, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    place = tmp_path / "invented_people" / "one.json"
    assert_names(message, *[f"cannot write {place}", os.strerror(errno.EFBIG), "free some space", "--data-dir"])
    assert files(tmp_path) == {}


def test_a_folder_without_write_permission(
    benchmark: PublishedBenchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("os.makedirs", denied)  # modes do not stop root
    message = fetch_error(benchmark, tmp_path)
    assert_names(message, *["cannot write", "permission denied", "--data-dir"])


@pytest.mark.parametrize("given_as", ["option", "environment"])
def test_a_mirror_replaces_the_source(
    given_as: str, server: Server, benchmark: PublishedBenchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in CONTENTS.items():
        server.files[f"/mirror/invented_people/{name}"] = content
    mirror = f"{server.url}/mirror"
    if given_as == "environment":
        monkeypatch.setenv("EFFACE_MIRROR", mirror)
    fetch(benchmark, tmp_path, mirror=mirror if given_as == "option" else None)
    assert files(tmp_path) == CONTENTS
    assert server.requests == {f"/mirror/invented_people/{name}": 1 for name in CONTENTS}


@pytest.mark.parametrize("mirror", ["benchmarks.example", "ftp://benchmarks.example", "file:///data", "https://"])
def test_a_mirror_must_be_a_web_address(mirror: str, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    message = fetch_error(benchmark, tmp_path, mirror)
    assert_names(message, *[f"the mirror {mirror!r}", "--mirror", "EFFACE_MIRROR", "http:// or https://"])


def test_a_mirrors_password_is_not_shown(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    message = fetch_error(benchmark, tmp_path, server.url.replace("//", "//ann:s3cret@") + "/nowhere")
    assert "HTTP 404" in message
    assert "s3cret" not in message


def test_a_proxy_is_used(
    server: Server, benchmark: PublishedBenchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = "http://nowhere.invalid"  # only the proxy could know where that is
    for name, content in CONTENTS.items():
        server.files[f"{mirror}/invented_people/{name}"] = content
    monkeypatch.setenv("HTTP_PROXY", server.url)
    fetch(benchmark, tmp_path, mirror=mirror)
    assert files(tmp_path) == CONTENTS
    assert server.requests == {f"{mirror}/invented_people/{name}": 1 for name in CONTENTS}


def test_a_proxy_that_fails(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    message = fetch_error(find_benchmark("tofu"), tmp_path)
    source = "tofu/forget01.json from https://raw.githubusercontent.com/"
    assert_names(message, *[source, "the proxy cannot be used", "HTTPS_PROXY"])
    assert server.requests == {"raw.githubusercontent.com:443": 3}


def test_pinned_hashes_and_sizes_are_those_of_the_benchmarks(shared: Path) -> None:
    assert set(published_benchmarks()) == {"tofu", "real-world"}
    for name, benchmark in published_benchmarks().items():
        folder = shared / "data" / benchmark.folder
        assert set(benchmark.files) == {file.name for file in folder.iterdir()}
        assert download_status(benchmark, shared / "data") == "complete"
        for file, pinned in benchmark.files.items():
            content = (folder / file).read_bytes()
            assert (pinned.size, pinned.sha256) == (len(content), hashlib.sha256(content).hexdigest()), (name, file)
        for file, pinned in benchmark.shared_files.items():
            content = (shared / "data" / file).read_bytes()
            assert (pinned.size, pinned.sha256) == (len(content), hashlib.sha256(content).hexdigest()), file
        assert fetch(benchmark, shared / "data").downloaded == ()


def test_shared_files_go_to_the_data_folder_itself(
    server: Server, benchmark: PublishedBenchmark, tmp_path: Path
) -> None:
    """They do not decide whether the benchmark is complete, which those who fetched it earlier have without them."""
    content = b"I don't know.\nNo idea.\n"
    pinned = PublishedFile(size=len(content), sha256=hashlib.sha256(content).hexdigest())
    with_shared = benchmark.model_copy(update={"shared_files": {"refusals.txt": pinned}})
    fetch(benchmark, tmp_path)
    assert download_status(with_shared, tmp_path) == "complete"
    assert_names(fetch_error(with_shared, tmp_path), f"{server.url}/data/refusals.txt", "HTTP 404")
    server.files["/data/refusals.txt"] = content
    fetched = fetch(with_shared, tmp_path)
    assert (fetched.downloaded, fetched.already_present) == (("refusals.txt",), tuple(CONTENTS))
    assert (tmp_path / "refusals.txt").read_bytes() == content
    other = benchmark.model_copy(update={"folder": "others", "files": {}, "shared_files": {"refusals.txt": pinned}})
    assert fetch(other, tmp_path).already_present == ("refusals.txt",)


def test_every_benchmark_fetches_the_published_refusals() -> None:
    for benchmark in published_benchmarks().values():
        assert list(benchmark.shared_files) == [PUBLISHED_REFUSALS]
