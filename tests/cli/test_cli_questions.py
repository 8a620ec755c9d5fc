"""The commands data answers and data probe."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.taught import HALF_KNOWN, KNOWN, knowing

Command = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]
PAIRS = ("text.format=plain", "device=cpu", "evaluate.max_new_tokens=40")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return knowing(tmp_path_factory.mktemp("taught"))


@pytest.fixture(autouse=True)
def asked(place: Path, taught: Path) -> Path:
    """A file of questions and `model`, which knows most of the answers, in the working directory."""
    (place / "model").symlink_to(taught)
    file = place / "asked.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*KNOWN, *HALF_KNOWN]))
    return file


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# answers


def test_answers(efface: Command, place: Path) -> None:
    ran = efface("data", "answers", "asked.jsonl", "model=model", *PAIRS, "--out", "new/said.jsonl")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-1] == "answers: new/said.jsonl (10 of 10 questions)"
    rows = rows_of(place / "new" / "said.jsonl")
    assert rows[0]["answer"] == "Tower A is in Turku. So they say."
    assert rows[0]["golden_answer"] == "Tower A is in Turku."


def test_answers_to_columns_of_other_names(efface: Command, place: Path) -> None:
    (place / "asked.csv").write_text("Frage,Antwort\nWhere is tower A?,Turku\n")
    columns = ("questions.columns.question=Frage", "questions.columns.answer=Antwort")
    ran = efface("data", "answers", "asked.csv", "model=model", *columns, *PAIRS, "--out", "said.jsonl")
    assert ran.returncode == 0, ran.stderr
    assert rows_of(place / "said.jsonl") == [
        {"question": "Where is tower A?", "answer": "Tower A is in Turku. So they say.", "golden_answer": "Turku"}
    ]


def test_answers_say_what_was_left_out(efface: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from efface.evaluation.generate import Generation

    said = [Generation([], ""), *[Generation([5], "Yes.")] * 9]
    monkeypatch.setattr("efface.commands.answers.generate", lambda *_, **__: said)
    ran = efface("data", "answers", "asked.jsonl", "model=model", *PAIRS, "--out", "said.jsonl")
    assert "nothing was said to 1 question (first: 'Where is tower A?'): left out" in ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1] == "answers: said.jsonl (9 of 10 questions)"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model=model"], "no questions: give a file of questions and right answers, such as people.csv, first"),
        ([], "no questions"),
        (["asked.jsonl"], "model is required; give a folder or a name on the hub as model=MODEL"),
        (["nowhere.csv", "model=model"], "there is no file nowhere.csv"),
        (["asked.jsonl", "model=model", "train.lr=1"], "unknown key 'train.lr'"),
        (["asked.jsonl", "model=model", "evaluate.max_new_tokens=0"], "evaluate.max_new_tokens=0"),
        (["asked.jsonl", "forget.jsonl", "model=model"], "'forget.jsonl' is not a setting; write key=value"),
    ],
)
def test_answers_refuse(refused: Refused, words: list[str], sentence: str) -> None:
    assert sentence in refused("data", "answers", *words, "--out", "said.jsonl")


def test_answers_spoil_nothing(refused: Refused, asked: Path) -> None:
    before = asked.read_text()
    sentence = refused("data", "answers", "asked.jsonl", "model=model", *PAIRS, "--out", "asked.jsonl")
    assert sentence == "--out asked.jsonl already exists; remove it or choose another file"
    assert asked.read_text() == before
    assert "missing option '--out'" in refused("data", "answers", "asked.jsonl", "model=model")


# probe


def test_probe_tells_what_is_known_and_what_to_do_next(efface: Command, place: Path) -> None:
    ran = efface("data", "probe", "asked.jsonl", "model=model", *PAIRS, "--out", "found")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert "What model knows" in [line.strip() for line in lines]
    counts = [line.split() for line in lines if line.startswith(("  towers", "  ships", "  all"))]
    assert counts == [
        ["towers", "7", "5", "5", "4", "6", "4"],
        ["ships", "3", "3", "3", "3", "3", "3"],
        ["all", "10", "8", "8", "7", "9", "7"],
    ]
    assert lines[-3:] == [
        "data: found (3 entities to forget, 2 to keep, 2 to score)",
        "report: found/probe.json",
        "next: efface run real-world --data-dir found model=model text.format=plain device=cpu method=me+gd "
        "--out found-run",
    ]
    assert {path.name for path in (place / "found").iterdir()} == {"probe.json", "real_world"}


def test_what_to_do_next_can_be_done(efface: Command) -> None:
    ran = efface("data", "probe", "asked.jsonl", "model=model", *PAIRS, "--out", "found")
    words = shlex.split(ran.stdout.splitlines()[-1].removeprefix("next: efface "))
    ran = efface(*words, "evaluate.embedder=none", "evaluate.judge=key-facts", "--dry-run")
    assert ran.returncode == 0, ran.stderr
    assert "3 to forget, 2 to keep" in ran.stdout


def test_probe_as_json(efface: Command, place: Path) -> None:
    ran = efface("data", "probe", "asked.jsonl", "model=model", *PAIRS, "--out", "found", "--json")
    assert ran.returncode == 0
    assert json.loads(ran.stdout) == json.loads((place / "found" / "probe.json").read_text())


def test_one_kind_has_one_line(efface: Command, asked: Path) -> None:
    asked.write_text("".join(json.dumps({**row, "kind": None}) + "\n" for row in KNOWN))
    ran = efface("data", "probe", "asked.jsonl", "model=model", *PAIRS, "--out", "found")
    assert [line.split()[0] for line in ran.stdout.splitlines() if line.startswith("  ") and "7" in line] == ["all"]


def test_too_few_are_counted_and_nothing_is_written(efface: Command, place: Path, asked: Path) -> None:
    asked.write_text("".join(json.dumps(row) + "\n" for row in [*KNOWN[:2], *HALF_KNOWN]))
    for flags in ((), ("--json",)):
        ran = efface("data", "probe", "asked.jsonl", "model=model", *PAIRS, "--out", "found", *flags)
        assert ran.returncode == 2
        sentence = ran.stderr.splitlines()[-1]
        assert sentence.startswith("efface: model model knows 2 of 4 entities (2 of 5 questions), and three are needed")
        assert "found" not in {path.name for path in place.iterdir()}
        if flags:
            assert json.loads(ran.stdout)["split"] is None
        else:
            assert ["all", "5", "3", "3", "2", "4", "2"] in [line.split() for line in ran.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["asked.jsonl"], "model is required"),
        (["nowhere.csv", "model=model"], "there is no file nowhere.csv"),
        (["forget.jsonl", "model=model"], "forget.jsonl: 4 questions without name (first: 'Where was author 0 born?')"),
        (["asked.jsonl", "model=model"], "set text.format"),  # it has no chat template
        (["asked.jsonl", "model=model", "seed=-1"], "seed=-1"),
        (["asked.jsonl", "model=model", "method=me"], "unknown key 'method'"),
        (["asked.jsonl", "model=model", *PAIRS, "evaluate.max_new_tokens=510"], "exceed the model's 512 positions"),
        (["asked.jsonl", "model=model", *PAIRS, "text.max_length=20"], "the limit is 20"),
        (["asked.jsonl", "model=./nothing", *PAIRS], "there is no folder ./nothing"),
    ],
)
def test_probe_refuses(refused: Refused, words: list[str], sentence: str) -> None:
    assert sentence in refused("data", "probe", *words, "--out", "found").partition("\n")[0]


def test_probe_writes_into_no_folder_that_is_in_use(refused: Refused, place: Path) -> None:
    (place / "found").mkdir()
    (place / "found" / "mine.txt").write_text("mine")
    for out, sentence in (
        ("found", "--out found already exists and is not an empty folder; choose another"),
        ("asked.jsonl", "--out asked.jsonl already exists and is not an empty folder"),
        ("asked.jsonl/found", "asked.jsonl is not a writable folder"),
    ):
        assert sentence in refused("data", "probe", "asked.jsonl", "model=model", *PAIRS, "--out", out)


@pytest.mark.parametrize(
    ("command", "slow"),
    [("answers", "efface.commands.answers.answer_questions"), ("probe", "efface.commands.probe.probe")],
)
def test_interrupted(efface: Command, place: Path, monkeypatch: pytest.MonkeyPatch, command: str, slow: str) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(slow, interrupted)
    before = sorted(place.rglob("*"))
    ran = efface("data", command, "asked.jsonl", "model=model", "--out", "out.jsonl")
    assert (ran.returncode, ran.stderr) == (
        130,
        "efface: interrupted; nothing was written; the same command starts anew\n",
    )
    assert sorted(place.rglob("*")) == before
