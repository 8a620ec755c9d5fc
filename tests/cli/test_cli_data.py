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

from efface.data.sources.published import PublishedBenchmark, PublishedFile

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
    monkeypatch.setattr("efface.data.sources.published.published_benchmarks", lambda: {"people": people})
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
    assert [line for line in lines if not line.startswith(" ")] == ["tofu", "real-world", "synthetic-authors", "files"]
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
    from efface.data.sources import download as fetching

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
    assert "the mirror 'ftp://x' is not a URL" in refused("data", "fetch", "people", "--mirror", "ftp://x")


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
    assert (
        ran.stdout
        == "synthetic-authors-2-of-20 can be used: 40 to forget, 360 to keep; scored: forget 40, retain 120\n"
    )
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
    own = efface("data", "check", "data.forget=forget.jsonl", "data.retain=model-answers")
    assert "the model's answers to 200 questions to keep" in own.stdout
    assert len(own.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["check", "describe"])
@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["data.forget=none.csv"], "there is no file none.csv; check the path"),
        (["tofu-forget01"], "tofu was not fetched yet: run `efface data fetch tofu`"),
        (["forget.jsonl"], "forget.jsonl is no config file; to use this data, give data.forget=forget.jsonl"),
        (
            ["synthetic-authors"],
            "'synthetic-authors' is neither a preset nor a config file; to use this data, give data=synthetic-authors",
        ),
        ([], "data is required; give a file as data.forget=FILE"),
        (["data=tofo"], "unknown data 'tofo'"),
        (["data=synthetic-authors", "train.lr=1"], "unknown key 'train.lr'"),
        (
            ["data=synthetic-authors", "data.authors=1"],
            "forget_authors=2 of authors=1 leaves no author for the retain set",
        ),
    ],
)
def test_refusals(refused: Callable[..., str], command: str, settings: list[str], sentence: str) -> None:
    assert sentence in refused("data", command, *settings)


def test_check_tokenizes_for_a_model(
    efface: Command, refused: Callable[..., str], place: Path, model: Path, tmp_path: Path
) -> None:
    pairs = ("data.forget=forget.jsonl", "data.retain=retain.jsonl", "text.format=plain", f"model={model}")
    ran = efface("data", "check", *pairs, "evaluate.max_new_tokens=4")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("files can be used: 4 to forget")
    long = "word " * 600
    for name, row, limit in (
        ("forget", {"answer": long}, "1"),
        ("retain", {"answer": long}, "1"),  # trained on and not scored
        ("forget", {"answer": "a", "perturbed_answers": [long]}, "9"),
    ):
        whole = (place / f"{name}.jsonl").read_text()
        (place / f"{name}.jsonl").write_text(whole + json.dumps({"question": "Why?", **row}) + "\n")
        sentence = refused("data", "check", *pairs, "evaluate.max_new_tokens=4", f"evaluate.limit={limit}")
        assert f"item '{name}/0005': question and answer take" in sentence
        assert efface("data", "check", *pairs[:2]).returncode == 0
        (place / f"{name}.jsonl").write_text(whole)
    assert "exceed the model's 512 positions" in refused("data", "check", *pairs, "evaluate.max_new_tokens=510")
    assert "there is no folder ./nowhere" in refused("data", "check", "mine.yaml", "model=./nowhere")


def test_check_says_what_to_give_and_where(refused: Callable[..., str], place: Path) -> None:
    datasets = pytest.importorskip("datasets")
    split = datasets.Dataset.from_list([{"question": "Who?", "answer": "Ann."}])
    datasets.DatasetDict(train=split, test=split).save_to_disk(place / "both")
    sentence = refused("data", "check", "data.forget=forget.jsonl", "data.retain=both")
    assert sentence == "both has several splits; choose one with data.retain.split=NAME: train, test"


# describe


def test_describe_warns_as_check_does(efface: Command, place: Path) -> None:
    (place / "forget.jsonl").write_text('{"question": "Who?", "answer": "n/a", "page": 3}\n')
    described, checked = (efface("data", command, "data.forget=forget.jsonl") for command in ("describe", "check"))
    assert described.returncode == 0
    assert len(described.stderr.splitlines()) == 3
    assert described.stderr == checked.stderr
    assert efface("data", "describe", "data.forget=forget.jsonl", "--json").stderr == ""


def test_describe_shows_what_is_said_before(efface: Command, place: Path) -> None:
    turns = [{"role": "system", "content": "Be brief. " * 20}]
    for number in range(4):
        turns += [{"role": "user", "content": f"Who {number}?"}, {"role": "assistant", "content": f"Ann {number}."}]
    (place / "forget.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    (place / "retain.jsonl").write_text(json.dumps({"messages": [*turns[:1], *turns[-2:]]}) + "\n")
    pairs = ("data.forget=forget.jsonl", "data.retain=retain.jsonl")
    lines = efface("data", "describe", *pairs).stdout.splitlines()
    assert "  items: 1 conversation with 4 answers" in lines
    assert "  items: 1 conversation" in lines
    start = lines.index("retain/0001 (to keep)")
    [system] = [line for line in lines[start:] if line.startswith("  system: ")]
    assert len(system) == len("  system: ") + 80
    assert lines[start + 2 :] == ["  question: Who 3?", "  answer: Ann 3."]
    (place / "retain.jsonl").write_text(json.dumps({"prompt": turns[:-1], "completion": "Bob."}) + "\n")
    lines = efface("data", "describe", *pairs).stdout.splitlines()
    assert lines[lines.index("retain/0001 (to keep)") + 2 :] == [
        "  earlier: 2 messages not shown here",
        "  user: Who 1?",
        "  assistant: Ann 1.",
        "  user: Who 2?",
        "  assistant: Ann 2.",
        "  question: Who 3?",
        "  answer: Bob.",
    ]


@pytest.mark.parametrize(("more", "told"), [(["x", "y"], "2 a question"), ([], "0 to 2 a question")])
def test_describe_counts_wrong_answers(efface: Command, place: Path, more: list[str], told: str) -> None:
    rows = [
        {"question": f"{n}?", "answer": "a", "perturbed_answers": wrong} for n, wrong in enumerate((["x", "y"], more))
    ]
    (place / "forget.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = efface("data", "describe", "data.forget=forget.jsonl").stdout.splitlines()
    assert f"  wrong answers: {told}" in lines
    assert "  items: 2 questions" in lines
    (place / "forget.jsonl").write_text(json.dumps({"question": "Who?", "answer": "Ann."}) + "\n")
    lines = efface("data", "describe", "data.forget=forget.jsonl").stdout.splitlines()
    assert "  items: 1 question" in lines
    assert not any(line.startswith("  wrong answers") for line in lines)


def test_describe_in_characters_and_in_tokens(efface: Command) -> None:
    ran = efface("data", "describe", "mine.yaml")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert "files, to forget" in lines
    assert any(line.startswith("  tokens: ") and line.endswith("none beyond the limit of 512") for line in lines)
    assert "  truth_ratio: no wrong answers (perturbed_answers) in forget (4 of 4), retain (4 of 4)" in lines
    assert "What can be scored, as far as the data goes" in lines
    assert "  rouge: yes" in lines
    assert "  answer: Author 0 was born in Turku." in lines
    lines = efface("data", "describe", "data.forget=forget.jsonl").stdout.splitlines()
    assert "  characters: 51 to 51 each, half of them up to 51, 95 % up to 51" in lines
    assert "Both to forget and to keep" not in lines


def test_describe_as_json(efface: Command) -> None:
    found = json.loads(efface("data", "describe", "mine.yaml", "model=null", "--json").stdout)
    assert found["forget"]["item_types"] == {"questions": 4}
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
