"""The commands data list, fetch, check and describe."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from efface.data.fetch import PublishedBenchmark, PublishedFile

Command = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.usefixtures("place")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a mirror of the one benchmark there is, `people` with two files."""
    root = tmp_path_factory.mktemp("mirror")
    contents = {"a.json": b"{}\n" * 50, "b.json": b"[]\n" * 50}
    (root / "folk").mkdir()
    for name, content in contents.items():
        (root / "folk" / name).write_bytes(content)
    people = PublishedBenchmark(
        name="people",
        folder="folk",
        about="invented",
        source="http://127.0.0.1:1/",
        license="none",
        files={
            name: PublishedFile(size=len(content), sha256=hashlib.sha256(content).hexdigest())
            for name, content in contents.items()
        },
    )
    monkeypatch.setattr("efface.data.fetch.published", lambda: {"people": people})
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# list


def test_list_says_where_everything_is(efface: Command, place: Path) -> None:
    ran = efface("data", "list")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["tofu", "real-world", "generated", "files"]
    assert "  here: not here; `efface data fetch tofu` gets it" in lines
    assert "  use: data=tofu-forget01 or data=tofu-forget05 or data=tofu-forget10" in lines


def test_list_looks_where_it_is_told_to(efface: Command, shared: Path) -> None:
    lines = efface("data", "list", "--data-dir", str(shared / "data")).stdout.splitlines()
    assert f"  here: {shared / 'data' / 'tofu'}" in lines


# fetch


@pytest.mark.parametrize("names", [["people"], ["all"], ["people", "people"]])
def test_fetch_puts_the_files_where_runs_look(efface: Command, place: Path, mirror: str, names: list[str]) -> None:
    folder = place / "cache" / "efface" / "data" / "folk"
    ran = efface("data", "fetch", *names, "--mirror", mirror)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"people: {folder} (2 of 2 files downloaded)\n"
    assert {path.name for path in folder.iterdir()} == {"a.json", "b.json"}
    again = efface("data", "fetch", *names, "--mirror", mirror)
    assert again.stdout == f"people: {folder} (0 of 2 files downloaded)\n"


def test_fetch_goes_on_where_it_was_interrupted(
    efface: Command, place: Path, mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from efface.data import fetch as fetching

    download = fetching._download

    def first_alone(benchmark: PublishedBenchmark, name: str, *rest: object) -> None:
        if name != "a.json":
            raise KeyboardInterrupt
        download(benchmark, name, *rest)

    arguments = ("data", "fetch", "people", "--mirror", mirror, "--data-dir", "here")
    with monkeypatch.context() as patched:
        patched.setattr(fetching, "_download", first_alone)
        ran = efface(*arguments)
    assert (ran.returncode, ran.stderr) == (130, "efface: interrupted; the same command goes on from here\n")
    assert [path.name for path in (place / "here" / "folk").iterdir()] == ["a.json"]
    assert efface(*arguments).stdout == "people: here/folk (1 of 2 files downloaded)\n"


def test_fetch_refuses(refused: Callable[..., str], mirror: str) -> None:
    assert "unknown benchmark 'peopel': did you mean 'people'?" in refused("data", "fetch", "peopel")
    assert "the mirror 'ftp://x' is no web address" in refused("data", "fetch", "people", "--mirror", "ftp://x")


def test_fetch_from_a_place_that_cannot_be_reached(efface: Command, place: Path, mirror: str) -> None:
    ran = efface("data", "fetch", "people")
    assert ran.returncode == 2
    assert ran.stderr.startswith("efface: cannot fetch folk/a.json from http://127.0.0.1:1: the connection failed;")
    assert ran.stderr.count("\n") == 1
    assert [path for path in (place / "cache").rglob("*") if path.is_file()] == []


# check


def test_check_needs_neither_model_nor_method(efface: Command) -> None:
    ran = efface("data", "check", "data.forget=forget.jsonl", "data.retain=retain.jsonl")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "files can be used: 4 to forget, 4 to keep; scored: forget 4, retain 4\n"


def test_check_takes_a_run_s_config_and_presets(efface: Command, shared: Path) -> None:
    assert efface("data", "check", "mine.yaml").returncode == 0
    ran = efface("data", "check", "demo")
    assert ran.stdout == "generated-2-of-20 can be used: 40 to forget, 360 to keep; scored: forget 40, retain 120\n"
    ran = efface("data", "check", "tofu-forget01", "--data-dir", str(shared / "data"))
    assert "40 to forget, 3,960 to keep" in ran.stdout


def test_check_warns(efface: Command, place: Path) -> None:
    (place / "forget.jsonl").write_text('{"question": "Who?", "answer": "Ann.", "page": 3}\n')
    ran = efface("data", "check", "data.forget=forget.jsonl")
    assert ran.returncode == 0
    first, second = ran.stderr.splitlines()
    assert first == "efface: warning: forget.jsonl: columns not read: page"
    assert second.startswith("efface: warning: there is nothing to keep, so only methods that forget alone can be used")
    assert ran.stdout == "files can be used: 1 to forget, nothing to keep; scored: forget 1\n"
    own = efface("data", "check", "data.forget=forget.jsonl", "data.retain=generated")
    assert "the model's answers to 200 questions to keep" in own.stdout
    assert len(own.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["check", "describe"])
@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["data.forget=none.csv"], "there is no file none.csv; check the path"),
        (["tofu-forget01"], "tofu was not fetched yet: run `efface data fetch tofu`"),
        (["forget.jsonl"], "forget.jsonl is no config file; to use this data, give data.forget=forget.jsonl"),
        (["generated"], "'generated' is neither a preset nor a config file; to use this data, give data=generated"),
        ([], "data is required"),
        (["data=tofo"], "unknown data 'tofo'"),
        (["data=generated", "train.lr=1"], "unknown key 'train.lr'"),
        (["data=generated", "data.authors=1"], "forget_authors=2 of authors=1 leaves nobody to keep"),
    ],
)
def test_refusals(refused: Callable[..., str], command: str, settings: list[str], sentence: str) -> None:
    assert sentence in refused("data", command, *settings)


# describe


def test_describe_in_characters_and_in_tokens(efface: Command) -> None:
    ran = efface("data", "describe", "mine.yaml")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert "files, to forget" in lines
    assert any(line.startswith("  tokens: ") and line.endswith("none beyond the limit of 512") for line in lines)
    assert "  truth_ratio: no wrong answers (perturbed_answers) in forget (4 of 4), retain (4 of 4)" in lines
    assert "  rouge: yes" in lines
    assert "  answer: Author 0 was born in Turku." in lines
    lines = efface("data", "describe", "data.forget=forget.jsonl").stdout.splitlines()
    assert "  characters: 51 to 51 each, half of them up to 51, 95 % up to 51" in lines
    assert "Both to forget and to keep" not in lines


def test_describe_as_json(efface: Command) -> None:
    found = json.loads(efface("data", "describe", "mine.yaml", "model=null", "--json").stdout)
    assert found["forget"]["kinds"] == {"questions": 4}
    assert found["forget"]["lengths"]["unit"] == "characters"
    assert found["overlap"] == {"same_question": 0, "shared_words": 0, "first_shared": None}
    assert set(found["missing"]) == {"truth_ratio", "cosine_similarity", "entailment"}


def test_describe_shows_no_control_codes(efface: Command, place: Path) -> None:
    (place / "forget.jsonl").write_text(json.dumps({"question": "Who\x1b[2J?", "answer": "A\nB [bold]c[/bold]"}) + "\n")
    ran = efface("data", "describe", "data.forget=forget.jsonl")
    assert "\x1b" not in ran.stdout
    assert "  answer: A B [bold]c[/bold]" in ran.stdout.splitlines()


def test_describe_refuses_a_model_that_is_not_there(refused: Callable[..., str]) -> None:
    assert "there is no folder ./nowhere" in refused("data", "describe", "mine.yaml", "model=./nowhere")
