"""`efface data answers` and `efface data probe`."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.built_once import BuildOnce
from support.messages import assert_names
from support.taught import HALF_KNOWN, KNOWN, knowing

Command = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]
PAIRS = ("text.format=plain", "device=cpu", "evaluate.max_new_tokens=40")


@pytest.fixture(scope="module")
def taught(build_once: BuildOnce) -> Path:
    return build_once("knowing", knowing)


@pytest.fixture(autouse=True)
def questions(place: Path, taught: Path) -> Path:
    """A file of questions and `model`, which knows most of the answers, in the working directory."""
    (place / "model").symlink_to(taught)
    file = place / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*KNOWN, *HALF_KNOWN]))
    return file


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# alternatives


def test_alternatives(efface: Command, place: Path) -> None:
    settings = ("text.format=plain", "device=cpu", "evaluate.max_new_tokens=12", "evaluate.count=2")
    ran = efface("data", "alternatives", "questions.jsonl", "model=model", *settings, "--out", "other.jsonl")
    assert (ran.returncode, ran.stderr) == (0, "")
    rows = rows_of(place / "other.jsonl")
    made = sum(len(row["alternate_answers"]) for row in rows)  # type: ignore[arg-type,misc]
    line = f"alternatives: other.jsonl ({made} answers to {len(rows)} questions)"
    assert ran.stdout.splitlines()[-1] == line
    assert rows[0]["answer"] == "Tower A is in Turku."


# answers


def test_answers(efface: Command, place: Path) -> None:
    ran = efface("data", "answers", "questions.jsonl", "model=model", *PAIRS, "--out", "new/answers.jsonl")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-1] == "answers: new/answers.jsonl (10 of 10 questions)"
    rows = rows_of(place / "new" / "answers.jsonl")
    assert rows[0]["answer"] == "Tower A is in Turku. So they say."
    assert rows[0]["golden_answer"] == "Tower A is in Turku."


def test_answers_with_other_column_names(efface: Command, place: Path) -> None:
    (place / "questions.csv").write_text("Frage,Antwort\nWhere is tower A?,Turku\n")
    columns = ("questions.columns.question=Frage", "questions.columns.answer=Antwort")
    ran = efface("data", "answers", "questions.csv", "model=model", *columns, *PAIRS, "--out", "answers.jsonl")
    assert ran.returncode == 0, ran.stderr
    assert rows_of(place / "answers.jsonl") == [
        {"question": "Where is tower A?", "answer": "Tower A is in Turku. So they say.", "golden_answer": "Turku"}
    ]


def test_answers_name_what_was_left_out(efface: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from efface.evaluation.generate import Generation

    outputs = [Generation([], ""), *[Generation([5], "Yes.")] * 9]
    monkeypatch.setattr("efface.commands.answers.generate", lambda *_, **__: outputs)
    ran = efface("data", "answers", "questions.jsonl", "model=model", *PAIRS, "--out", "answers.jsonl")
    assert_names(ran.stdout + ran.stderr, "1 question ", "'Where is tower A?'", "left out")
    assert ran.stdout.splitlines()[-1] == "answers: answers.jsonl (9 of 10 questions)"


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["model=model"], ["questions is required", "people.csv"]),
        ([], ["model is required", "model=MODEL"]),
        (["questions.jsonl"], ["model is required", "model=MODEL"]),
        (["nowhere.csv", "model=model"], ["nowhere.csv"]),
        (["questions.jsonl", "model=model", "train.lr=1"], ["'train.lr'"]),
        (["questions.jsonl", "model=model", "evaluate.max_new_tokens=0"], ["evaluate.max_new_tokens=0"]),
        (["questions.jsonl", "forget.jsonl", "model=model"], ["'forget.jsonl'", "key=value"]),
    ],
)
def test_answers_refuse(refused: Refused, words: list[str], parts: list[str]) -> None:
    assert_names(refused("data", "answers", *words, "--out", "answers.jsonl"), *parts)


def test_answers_overwrite_nothing(refused: Refused, questions: Path) -> None:
    before = questions.read_text()
    sentence = refused("data", "answers", "questions.jsonl", "model=model", *PAIRS, "--out", "questions.jsonl")
    assert_names(sentence, "--out questions.jsonl", "another file")
    assert questions.read_text() == before


# probe


def test_probe(efface: Command, place: Path) -> None:
    ran = efface("data", "probe", "questions.jsonl", "model=model", *PAIRS, "--out", "found")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert "Known to model" in [line.strip() for line in lines]
    counts = [line.split() for line in lines if line.startswith(("  towers", "  ships", "  all"))]
    assert counts == [
        ["towers", "7", "5", "5", "4", "6", "4"],
        ["ships", "3", "3", "3", "3", "3", "3"],
        ["all", "10", "8", "8", "7", "9", "7"],
    ]
    assert lines[-3:] == [
        "data: found (entities: 3 in the forget set, 2 in the retain set, 2 scored only)",
        "report: found/probe.json",
        "next: efface run real-world --data-dir found model=model text.format=plain device=cpu method=me+gd "
        "--out found-run",
    ]
    assert {path.name for path in (place / "found").iterdir()} == {"probe.json", "real_world"}


def test_the_printed_command_works(efface: Command) -> None:
    ran = efface("data", "probe", "questions.jsonl", "model=model", *PAIRS, "--out", "found")
    words = shlex.split(ran.stdout.splitlines()[-1].removeprefix("next: efface "))
    ran = efface(*words, "evaluate.embedder=none", "evaluate.judge=key-facts", "--dry-run")
    assert ran.returncode == 0, ran.stderr
    assert_names(ran.stdout, "3 ", "2 ")


def test_probe_as_json(efface: Command, place: Path) -> None:
    ran = efface("data", "probe", "questions.jsonl", "model=model", *PAIRS, "--out", "found", "--json")
    assert ran.returncode == 0
    assert json.loads(ran.stdout) == json.loads((place / "found" / "probe.json").read_text())


def test_a_single_kind_has_one_row(efface: Command, questions: Path) -> None:
    questions.write_text("".join(json.dumps({**row, "kind": None}) + "\n" for row in KNOWN))
    ran = efface("data", "probe", "questions.jsonl", "model=model", *PAIRS, "--out", "found")
    assert [line.split()[0] for line in ran.stdout.splitlines() if line.startswith("  ") and "7" in line] == ["all"]


def test_too_few_known_entities(efface: Command, place: Path, questions: Path) -> None:
    questions.write_text("".join(json.dumps(row) + "\n" for row in [*KNOWN[:2], *HALF_KNOWN]))
    for flags in ((), ("--json",)):
        ran = efface("data", "probe", "questions.jsonl", "model=model", *PAIRS, "--out", "found", *flags)
        assert ran.returncode == 2
        sentence = ran.stderr.splitlines()[-1]
        assert_names(sentence, "model model", "2 of 4 entities", "2 of 5 questions", "three")
        assert "found" not in {path.name for path in place.iterdir()}
        if flags:
            assert json.loads(ran.stdout)["split"] is None
        else:
            assert ["all", "5", "3", "3", "2", "4", "2"] in [line.split() for line in ran.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["questions.jsonl"], ["model is required"]),
        (["nowhere.csv", "model=model"], ["nowhere.csv"]),
        (["forget.jsonl", "model=model"], ["forget.jsonl", "4 questions", "name", "'Where was author 0 born?'"]),
        (["questions.jsonl", "model=model"], ["text.format"]),  # it has no chat template
        (["questions.jsonl", "model=model", "seed=-1"], ["seed=-1"]),
        (["questions.jsonl", "model=model", "method=me"], ["'method'"]),
        (["questions.jsonl", "model=model", *PAIRS, "evaluate.max_new_tokens=510"], ["512", "evaluate.max_new_tokens"]),
        (["questions.jsonl", "model=model", *PAIRS, "text.max_length=20"], ["20", "text.max_length"]),
        (["questions.jsonl", "model=./nothing", *PAIRS], ["./nothing"]),
    ],
)
def test_probe_refuses(refused: Refused, words: list[str], parts: list[str]) -> None:
    assert_names(refused("data", "probe", *words, "--out", "found"), *parts)


@pytest.mark.parametrize("out", ["used", "questions.jsonl", "questions.jsonl/new"])
def test_probe_writes_to_no_folder_that_is_in_use(refused: Refused, place: Path, out: str) -> None:
    (place / "used").mkdir()
    (place / "used" / "mine.txt").write_text("mine")
    sentence = refused("data", "probe", "questions.jsonl", "model=model", *PAIRS, "--out", out)
    assert_names(sentence, out.partition("/")[0])
