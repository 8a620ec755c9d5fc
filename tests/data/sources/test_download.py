"""Fetching benchmarks, from a real server on this machine: whole and right files or none, and nothing twice."""

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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from efface.data.sources.download import (
    PublishedBenchmark,
    PublishedFile,
    default_data_folder,
    download_status,
    fetch,
    find_benchmark,
    missing_files,
    published_benchmarks,
)
from efface.errors import EffaceError

CONTENTS = {name: f'{{"question": "{name}?"}}\n'.encode() * 9000 for name in ("one.json", "two.json", "three.json")}


class Server(ThreadingHTTPServer):
    """Serves `files` by path, compressed as the published place does; counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files = {f"/data/invented_people/{name}": content for name, content in CONTENTS.items()}
        self.asked: Counter[str] = Counter()
        self.broken: dict[str, int] = {}
        """Path -> how many more times its answer breaks off in the middle."""
        self.busy: dict[str, int] = {}
        """Path -> how many more times the answer is that there is none now."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
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
        breaks_off = self.server.broken.get(self.path, 0) > 0
        self.server.broken[self.path] = self.server.broken.get(self.path, 0) - 1
        self.wfile.write(body[: len(body) // 2] if breaks_off else body)
        return None

    def do_CONNECT(self) -> None:
        self.server.asked[self.path] += 1
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
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no mirror, and no waiting between attempts."""
    for name in os.environ:
        if name.lower().endswith("_proxy") or name in {"EFFACE_MIRROR", "EFFACE_DATA"}:
            monkeypatch.delenv(name)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def path(name: str) -> str:
    return f"/data/invented_people/{name}"


def files(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, left-overs included."""
    return {entry.name: entry.read_bytes() for entry in folder.rglob("*") if entry.is_file()}


def refusal(benchmark: PublishedBenchmark, folder: Path, mirror: str | None = None) -> str:
    with pytest.raises(EffaceError) as refused:
        fetch(benchmark, folder, mirror=mirror)
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


def test_every_file_is_fetched_once(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    assert download_status(benchmark, folder) == "absent"
    fetched = fetch(benchmark, folder)
    assert (fetched.folder, fetched.downloaded, fetched.kept) == (folder / "invented_people", tuple(CONTENTS), ())
    assert files(fetched.folder) == CONTENTS
    assert download_status(benchmark, folder) == "complete"

    again = fetch(benchmark, folder)
    assert (again.downloaded, again.kept) == ((), tuple(CONTENTS))
    assert server.asked == {path(name): 1 for name in CONTENTS}


def test_progress_counts_the_bytes_of_the_file(benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    reports: list[tuple[str, int, int]] = []
    fetch(benchmark, tmp_path, progress=lambda *report: reports.append(report))
    assert list(dict.fromkeys(name for name, _, _ in reports)) == list(CONTENTS)
    for name, content in CONTENTS.items():
        written = [done for reported, done, _ in reports if reported == name]
        assert len(written) > 1
        assert written == sorted(written)
        assert written[-1] == len(content)
        assert {total for reported, _, total in reports if reported == name} == {len(content)}


def test_nothing_is_printed(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    server.broken[path("one.json")] = 1
    script = (  # in a process of its own: pooch's logger holds on to the stderr that it was imported under
        "import sys; from pathlib import Path; from efface.data.sources.download import PublishedBenchmark, fetch; "
        "fetch(PublishedBenchmark.model_validate_json(sys.argv[1]), Path(sys.argv[2]))"
    )
    arguments = [sys.executable, "-c", script, benchmark.model_dump_json(), str(tmp_path)]
    ran = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")
    assert files(tmp_path) == CONTENTS


def test_others_may_read_what_was_fetched(benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    place = fetch(benchmark, tmp_path).folder
    assert {stat.S_IMODE(file.stat().st_mode) for file in place.iterdir()} == {0o644}


def test_an_interrupted_fetch_goes_on_where_it_stopped(
    server: Server, benchmark: PublishedBenchmark, tmp_path: Path
) -> None:
    server.broken[path("two.json")] = 99
    sentence = refusal(benchmark, tmp_path)
    assert f"cannot fetch invented_people/two.json from {server.url}/data: the connection failed;" in sentence
    assert "run `efface data fetch invented` again, which goes on from here" in sentence
    assert files(tmp_path) == {"one.json": CONTENTS["one.json"]}
    assert download_status(benchmark, tmp_path) == "partial"
    assert missing_files(benchmark, tmp_path) == ("two.json", "three.json")
    assert server.asked == {path("one.json"): 1, path("two.json"): 3}

    server.broken.clear()
    fetched = fetch(benchmark, tmp_path)
    assert (fetched.downloaded, fetched.kept) == (("two.json", "three.json"), ("one.json",))
    assert files(tmp_path) == CONTENTS
    assert server.asked == {path("one.json"): 1, path("two.json"): 4, path("three.json"): 1}


def test_what_passes_is_tried_again(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    server.broken[path("one.json")] = 1
    server.busy[path("two.json")] = 2
    fetch(benchmark, tmp_path)
    assert files(tmp_path) == CONTENTS
    assert server.asked == {path("one.json"): 2, path("two.json"): 3, path("three.json"): 1}


def test_a_server_that_stays_busy_says_so(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    server.busy[path("one.json")] = 99
    assert "HTTP 503; check the network" in refusal(benchmark, tmp_path)


def test_stopped_by_hand_leaves_no_half_file(benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    def stop_in_second(name: str, done: int, total: int) -> None:
        if name == "two.json":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(benchmark, tmp_path, progress=stop_in_second)
    assert files(tmp_path) == {"one.json": CONTENTS["one.json"]}


def test_a_file_with_another_hash_is_not_kept(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    server.files[path("two.json")] = other = CONTENTS["two.json"].replace(b"?", b"!")
    sentence = refusal(benchmark, tmp_path)
    assert f"{server.url}{path('two.json')} is not the published file (its SHA-256 is " in sentence
    assert hashlib.sha256(other).hexdigest() in sentence
    assert benchmark.files["two.json"].sha256 in sentence
    assert files(tmp_path) == {"one.json": CONTENTS["one.json"]}
    assert server.asked[path("two.json")] == 1


def test_a_file_that_the_server_lacks_is_named(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    del server.files[path("one.json")]
    sentence = refusal(benchmark, tmp_path)
    assert f"{server.url}{path('one.json')} cannot be had (HTTP 404): name a mirror" in sentence
    assert files(tmp_path) == {}
    assert server.asked == {path("one.json"): 1}, "what is not there is not tried again"


def test_a_refused_connection(benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    with socket.socket() as closed:  # bound and not listening: nobody else can have the port
        closed.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{closed.getsockname()[1]}"
        sentence = refusal(benchmark, tmp_path, mirror)
    assert f"from {mirror}: the connection failed; check the network and HTTPS_PROXY" in sentence
    assert files(tmp_path) == {}


def test_a_silent_server(benchmark: PublishedBenchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("efface.data.sources.download._SECONDS_OF_SILENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        sentence = refusal(benchmark, tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert "no answer in time" in sentence


def test_a_file_that_is_there_and_right_is_kept(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    (tmp_path / "invented_people").mkdir()
    (tmp_path / "invented_people" / "three.json").write_bytes(CONTENTS["three.json"])
    fetched = fetch(benchmark, tmp_path)
    assert (fetched.downloaded, fetched.kept) == (("one.json", "two.json"), ("three.json",))
    assert path("three.json") not in server.asked


def test_another_file_of_that_name_stays_as_it_is(
    server: Server, benchmark: PublishedBenchmark, tmp_path: Path
) -> None:
    mine = tmp_path / "invented_people" / "three.json"
    mine.parent.mkdir()
    mine.write_bytes(CONTENTS["three.json"].replace(b"?", b"!"))
    before = mine.read_bytes()
    sentence = refusal(benchmark, tmp_path)
    assert f"{mine} is there but is not the published file" in sentence
    assert hashlib.sha256(before).hexdigest() in sentence
    assert "move it away, or give another folder with --data-dir" in sentence
    assert files(tmp_path) == {"three.json": before}
    assert not server.asked


def test_a_folder_that_is_a_file(benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    assert "give another folder with --data-dir" in refusal(benchmark, tmp_path / "data")
    assert (tmp_path / "data").read_text() == "mine"


def test_a_full_disk(benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        sentence = refusal(benchmark, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    place = tmp_path / "invented_people" / "one.json"
    assert f"cannot write {place}: {os.strerror(errno.EFBIG)}; free some space or choose another folder" in sentence
    assert files(tmp_path) == {}


def test_a_folder_without_rights(
    benchmark: PublishedBenchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("os.makedirs", denied)  # modes do not stop root
    sentence = refusal(benchmark, tmp_path)
    assert "no right to write there; free some space or choose another folder with --data-dir" in sentence


@pytest.mark.parametrize("said", ["option", "environment"])
def test_a_mirror_replaces_the_published_place(
    said: str, server: Server, benchmark: PublishedBenchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in CONTENTS.items():
        server.files[f"/mirror/invented_people/{name}"] = content
    mirror = f"{server.url}/mirror"
    if said == "environment":
        monkeypatch.setenv("EFFACE_MIRROR", mirror)
    fetch(benchmark, tmp_path, mirror=mirror if said == "option" else None)
    assert files(tmp_path) == CONTENTS
    assert server.asked == {f"/mirror/invented_people/{name}": 1 for name in CONTENTS}


@pytest.mark.parametrize("mirror", ["benchmarks.example", "ftp://benchmarks.example", "file:///data", "https://"])
def test_a_mirror_must_be_a_web_address(mirror: str, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    sentence = refusal(benchmark, tmp_path, mirror)
    assert f"the mirror {mirror!r} is no web address: give --mirror (or EFFACE_MIRROR) the http:// or" in sentence


def test_a_mirrors_password_is_not_shown(server: Server, benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    sentence = refusal(benchmark, tmp_path, server.url.replace("//", "//ann:s3cret@") + "/nowhere")
    assert "HTTP 404" in sentence
    assert "s3cret" not in sentence


def test_a_proxy_is_asked(
    server: Server, benchmark: PublishedBenchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = "http://nowhere.invalid"  # only the proxy could know where that is
    for name, content in CONTENTS.items():
        server.files[f"{mirror}/invented_people/{name}"] = content
    monkeypatch.setenv("HTTP_PROXY", server.url)
    fetch(benchmark, tmp_path, mirror=mirror)
    assert files(tmp_path) == CONTENTS
    assert server.asked == {f"{mirror}/invented_people/{name}": 1 for name in CONTENTS}


def test_a_proxy_that_refuses_is_blamed(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    sentence = refusal(find_benchmark("tofu"), tmp_path)
    assert "cannot fetch tofu/forget01.json from https://raw.githubusercontent.com/" in sentence
    assert "the proxy cannot be used; check the network and HTTPS_PROXY" in sentence
    assert server.asked == {"raw.githubusercontent.com:443": 3}


def test_pinned_hashes_and_sizes_are_those_of_the_benchmarks(shared: Path) -> None:
    assert set(published_benchmarks()) == {"tofu", "real-world"}
    for name, benchmark in published_benchmarks().items():
        folder = shared / "data" / benchmark.folder
        assert set(benchmark.files) == {file.name for file in folder.iterdir()}
        assert download_status(benchmark, shared / "data") == "complete"
        for file, pinned in benchmark.files.items():
            content = (folder / file).read_bytes()
            assert (pinned.size, pinned.sha256) == (len(content), hashlib.sha256(content).hexdigest()), (name, file)
        assert fetch(benchmark, shared / "data").downloaded == ()


def test_every_published_benchmark_is_pinned_to_a_commit() -> None:
    for benchmark in published_benchmarks().values():
        assert "/b622294965f8b40feb5383c9e93dbdb26a76b6b3/" in benchmark.source
        assert benchmark.about
        assert benchmark.license


def test_a_file_of_another_size_is_missing(benchmark: PublishedBenchmark, tmp_path: Path) -> None:
    place = tmp_path / "invented_people"
    place.mkdir()
    (place / "one.json").write_bytes(CONTENTS["one.json"])
    (place / "two.json").write_bytes(CONTENTS["two.json"][:-1])
    assert missing_files(benchmark, tmp_path) == ("two.json", "three.json")
    assert download_status(benchmark, tmp_path) == "partial"


def test_an_unknown_benchmark_is_refused() -> None:
    with pytest.raises(EffaceError, match=r"'realworld': did you mean 'real-world'\? allowed: real-world, tofu"):
        find_benchmark("realworld")


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_data_folder() == tmp_path / "efface" / "data"
    monkeypatch.setenv("EFFACE_DATA", "elsewhere")
    assert default_data_folder() == Path("elsewhere")


def test_listing_needs_no_download_libraries() -> None:
    script = (
        "import sys; from efface.data.sources.download import *; status(published()['tofu'], default_folder()); "
        "assert not {'pooch', 'requests', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
