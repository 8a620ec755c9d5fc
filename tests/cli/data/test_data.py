"""`efface data list`, `fetch` and `check`."""

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

from efface.data.sources.benchmarks.download import PublishedBenchmark, PublishedFile
from efface.data.sources.benchmarks.hub_benchmarks import hub_benchmarks
from support.messages import assert_names

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
    monkeypatch.setattr("efface.data.sources.benchmarks.published.published_benchmarks", lambda: {"people": people})
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# list


def test_list(efface: Command, place: Path) -> None:
    ran = efface("data", "list")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    names = ["tofu", "real-world", *hub_benchmarks(), "synthetic-authors", "files"]
    assert [line for line in lines if not line.startswith(" ")] == names
    assert "  location: not downloaded; `efface data fetch tofu` downloads it" in lines
    assert "  use: data=tofu-forget01 or data=tofu-forget05 or data=tofu-forget10" in lines


def test_list_with_a_data_dir(efface: Command, shared: Path) -> None:
    lines = efface("data", "list", "--data-dir", str(shared / "data")).stdout.splitlines()
    assert f"  location: {shared / 'data' / 'tofu'}" in lines


# fetch


@pytest.mark.parametrize("names", [["people"], ["all"], ["people", "people"]])
def test_fetch(efface: Command, place: Path, mirror: str, names: list[str]) -> None:
    folder = place / "cache" / "efface" / "data" / "folk"
    ran = efface("data", "fetch", *names, "--mirror", mirror)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"people: {folder} (2 of 2 files downloaded)\n"
    assert {path.name for path in folder.iterdir()} == {"a.json", "b.json"}
    again = efface("data", "fetch", *names, "--mirror", mirror)
    assert again.stdout == f"people: {folder} (0 of 2 files downloaded)\n"


def test_an_interrupted_fetch_continues(
    efface: Command, place: Path, mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from efface.data.sources.benchmarks import download as fetching

    download = fetching._download

    def first_alone(benchmark: PublishedBenchmark, wanted: fetching._Wanted, *rest: object) -> None:
        if wanted.name != "a.json":
            raise KeyboardInterrupt
        download(benchmark, wanted, *rest)

    arguments = ("data", "fetch", "people", "--mirror", mirror, "--data-dir", "here")
    with monkeypatch.context() as patched:
        patched.setattr(fetching, "_download", first_alone)
        ran = efface(*arguments)
    assert (ran.returncode, ran.stderr) == (130, "efface: interrupted; the same command continues from here\n")
    assert [path.name for path in (place / "here" / "folk").iterdir()] == ["a.json"]
    assert efface(*arguments).stdout == "people: here/folk (1 of 2 files downloaded)\n"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["peopel"], ["'peopel'", "'people'"]),
        (["people", "--mirror", "ftp://x"], ["'ftp://x'"]),
    ],
)
@pytest.mark.usefixtures("mirror")
def test_fetch_refuses(refused: Callable[..., str], arguments: list[str], parts: list[str]) -> None:
    assert_names(refused("data", "fetch", *arguments), *parts)


@pytest.mark.usefixtures("mirror")
def test_fetch_from_an_unreachable_server(efface: Command, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between attempts
    ran = efface("data", "fetch", "people")
    assert ran.returncode == 2
    assert_names(ran.stderr, "folk/a.json", "http://127.0.0.1:1", "--mirror")
    assert ran.stderr.count("\n") == 1
    assert [path for path in (place / "cache").rglob("*") if path.is_file()] == []


# check


def test_check_needs_neither_model_nor_method(efface: Command) -> None:
    ran = efface("data", "check", "data.forget=forget.jsonl", "data.retain=retain.jsonl")
    assert (ran.returncode, ran.stderr) == (0, "")
    first, *description = ran.stdout.splitlines()
    assert first == "files can be used: 4 in the forget set, 4 in the retain set; scored: forget 4, retain 4"
    assert "files, forget set" in description


def test_check_takes_a_run_s_config_and_presets(efface: Command, shared: Path) -> None:
    assert efface("data", "check", "mine.yaml").returncode == 0
    ran = efface("data", "check", "demo")
    assert ran.stdout.startswith(
        "synthetic-authors-2-of-20 can be used: 40 in the forget set, 360 in the retain set; "
        "scored: forget 40, retain 120\n"
    )
    ran = efface("data", "check", "tofu-forget01", "--data-dir", str(shared / "data"))
    assert "40 in the forget set, 3,960 in the retain set" in ran.stdout


def test_check_warns(efface: Command, place: Path) -> None:
    (place / "forget.jsonl").write_text('{"question": "Who?", "answer": "Ann.", "page": 3}\n')
    ran = efface("data", "check", "data.forget=forget.jsonl")
    assert ran.returncode == 0
    first, second = ran.stderr.splitlines()
    assert_names(first, "efface: warning: forget.jsonl", "page")
    assert_names(second, "efface: warning: ", "no retain set", "data.retain=FILE", "data.retain=model-answers")
    assert ran.stdout.startswith("files can be used: 1 in the forget set, no retain set; scored: forget 1\n")
    generic = efface("data", "check", "data.forget=forget.jsonl", "data.retain=model-answers")
    assert "the model's answers to 200 questions, and what it knows of 300 well-known facts" in generic.stdout
    assert len(generic.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (["data.forget=none.csv"], ["none.csv"]),
        (["tofu-forget01"], ["tofu", "efface data fetch tofu"]),
        (["synthetic-authors"], ["'synthetic-authors'", "data=synthetic-authors"]),
        ([], ["data is required", "data.forget=FILE"]),
        (["data=tofo"], ["'tofo'"]),
        (["data=synthetic-authors", "train.rl=1"], ["'train.rl'", "train.lr"]),
        (["data=synthetic-authors", "data.authors=1"], ["forget_authors=2", "authors=1"]),
        (["mine.yaml", "model=./nowhere"], ["./nowhere"]),
    ],
)
def test_refused(refused: Callable[..., str], settings: list[str], parts: list[str]) -> None:
    assert_names(refused("data", "check", *settings), *parts)


def test_check_tokenizes_for_a_model(
    efface: Command, refused: Callable[..., str], place: Path, model: Path, tmp_path: Path
) -> None:
    pairs = ("data.forget=forget.jsonl", "data.retain=retain.jsonl", "text.format=plain", f"model={model}")
    ran = efface("data", "check", *pairs, "evaluate.max_new_tokens=4")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("files can be used: 4 in the forget set")
    long = "word " * 600
    for name, row, limit in (
        ("forget", {"answer": long}, "1"),
        ("retain", {"answer": long}, "1"),  # trained on and not scored
        ("forget", {"answer": "a", "perturbed_answers": [long]}, "9"),
    ):
        whole = (place / f"{name}.jsonl").read_text()
        (place / f"{name}.jsonl").write_text(whole + json.dumps({"question": "Why?", **row}) + "\n")
        sentence = refused("data", "check", *pairs, "evaluate.max_new_tokens=4", f"evaluate.limit={limit}")
        assert_names(sentence, f"'{name}/0005'", "text.max_length")
        assert efface("data", "check", *pairs[:2]).returncode == 0
        (place / f"{name}.jsonl").write_text(whole)
    sentence = refused("data", "check", *pairs, "evaluate.max_new_tokens=510")
    assert_names(sentence, "512", "evaluate.max_new_tokens=510")


def test_check_names_the_splits_to_choose_from(refused: Callable[..., str], place: Path) -> None:
    datasets = pytest.importorskip("datasets")
    split = datasets.Dataset.from_list([{"question": "Who?", "answer": "Ann."}])
    datasets.DatasetDict(train=split, test=split).save_to_disk(place / "both")
    sentence = refused("data", "check", "data.forget=forget.jsonl", "data.retain=both")
    assert_names(sentence, "both", "data.retain.split=NAME", "train, test")


def test_check_takes_a_bare_file_or_folder_and_the_words_of_a_run(efface: Command, place: Path) -> None:
    plain = efface("data", "check", "forget.jsonl")
    assert plain.returncode == 0
    assert plain.stdout == efface("data", "check", "data.forget=forget.jsonl").stdout
    (place / "texts").mkdir()
    (place / "texts" / "one.txt").write_text("Ann has lived in Rome for ten years.")
    assert "1 in the forget set" in efface("data", "check", "texts").stdout
    words = ("data.retain=retain.jsonl", "method=me+gd", "train.lr=1e-5", "seed=3")
    ran = efface("data", "check", "forget.jsonl", *words)
    assert ran.stdout.startswith("files can be used: 4 in the forget set, 4 in the retain set")


def test_describe_is_refused_with_its_new_name(refused: Callable[..., str]) -> None:
    assert_names(refused("data", "describe", "data.forget=forget.jsonl", "--json"), "efface data check")


def test_json_has_no_warnings(efface: Command, place: Path) -> None:
    (place / "forget.jsonl").write_text('{"question": "Who?", "answer": "n/a", "page": 3}\n')
    assert len(efface("data", "check", "forget.jsonl").stderr.splitlines()) == 3
    assert efface("data", "check", "forget.jsonl", "--json").stderr == ""


def test_check_as_json(efface: Command) -> None:
    found = json.loads(efface("data", "check", "mine.yaml", "model=null", "--json").stdout)
    assert found["forget"]["item_types"] == {"questions": 4}
    assert found["forget"]["lengths"]["unit"] == "characters"
    assert found["overlap"] == {"same_question": 0, "shared_words": 0, "first_shared": None}
    assert set(found["missing"]) == {"truth_ratio", "cosine_similarity", "entailment"}
