"""A model's answers: greedy, the same in any batch, complete sentences, and usable as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from efface.commands import answers as module
from efface.commands.answers import answer_questions
from efface.config.data_commands import AnswersConfig
from efface.data import load_task
from efface.data.config import DataConfig
from efface.errors import EffaceError
from efface.evaluation.generate import Generation
from support.built_once import BuildOnce
from support.runs import Told
from support.taught import KNOWN, asking, knowing


@pytest.fixture(scope="module")
def model(build_once: BuildOnce) -> Path:
    return build_once("knowing", knowing)


@pytest.fixture
def config(model: Path, tmp_path: Path) -> Any:
    """Settings for asking `KNOWN`, or other rows."""

    def make(rows: Any = KNOWN, **changes: Any) -> AnswersConfig:
        return asking(AnswersConfig, model, rows, tmp_path, **changes)

    return make


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replaces the model's answers by these texts, each of so many tokens."""

    def stub(*texts: str, tokens: int = 3) -> None:
        said = [Generation([5] * tokens, text) for text in texts]
        monkeypatch.setattr(module, "generate", lambda *_, **__: said)

    return stub


def rows_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_models_answers_next_to_the_correct_ones(config: Any, tmp_path: Path) -> None:
    told = Told()
    done = answer_questions(config(), tmp_path / "new" / "said.jsonl", reporter=told)
    assert (done.questions, done.blank) == (7, ())
    rows = rows_in(tmp_path / "new" / "said.jsonl")
    for row, asked in zip(rows, KNOWN, strict=True):
        assert row["answer"] == f"{asked['answer']} So they say."
        assert row["golden_answer"] == asked["answer"]
        assert row["perturbed_answer"] == asked["perturbed_answers"]
        assert all(row[column] == asked[column] for column in ("name", "kind", "question", "key_fact"))
    assert told.stages[-1].endswith("7 questions")


def test_batches_change_nothing(config: Any, tmp_path: Path) -> None:
    """Greedy, in the order of the questions, however many are asked at once and however long they are."""
    rows = [{**row, "question": f"{'Now, ' * number}{row['question']}"} for number, row in enumerate(KNOWN)]
    for name, batch in (("together", 32_768), ("alone", 1)):
        settings = config(rows, evaluate={"max_cache_tokens": batch})
        answer_questions(settings, tmp_path / f"{name}.jsonl")
    assert (tmp_path / "together.jsonl").read_text() == (tmp_path / "alone.jsonl").read_text()
    assert [row["name"] for row in rows_in(tmp_path / "alone.jsonl")] == [row["name"] for row in KNOWN]


def test_what_was_said_can_be_forgotten(config: Any, tmp_path: Path) -> None:
    answer_questions(config(), tmp_path / "said.jsonl")
    task = load_task(DataConfig(source="files", forget=str(tmp_path / "said.jsonl")), data_dir=None)
    assert task.forget[0].answer == "Tower A is in Turku. So they say."
    assert task.evaluation[0].items[0].scored_answer == "Tower A is in Turku."
    assert task.evaluation[0].items[0].key_fact == "Turku"


def test_an_answer_that_took_too_long_ends_with_a_sentence(config: Any, says: Any, tmp_path: Path) -> None:
    for name, tokens, expected in (("cut", 40, "One. Two."), ("whole", 39, "One. Two. Thr")):
        says(" One. Two. Thr", tokens=tokens)
        answer_questions(config(KNOWN[:1]), tmp_path / f"{name}.jsonl")
        assert rows_in(tmp_path / f"{name}.jsonl")[0]["answer"] == expected


def test_a_question_without_an_answer_is_left_out(config: Any, says: Any, tmp_path: Path) -> None:
    says(" Ada.\n", " \n", "Eve.")
    done = answer_questions(config(KNOWN[:3]), tmp_path / "said.jsonl")
    assert (done.questions, done.blank) == (3, ("Where is tower B?",))
    assert [(row["name"], row["answer"]) for row in rows_in(tmp_path / "said.jsonl")] == [("A", "Ada."), ("C", "Eve.")]


def test_a_model_that_gives_no_answer(config: Any, says: Any, tmp_path: Path) -> None:
    says("", " ")
    with pytest.raises(EffaceError, match=r"gives no answer to any of the 2 questions; set text\.format"):
        answer_questions(config(KNOWN[:2]), tmp_path / "said.jsonl")
    assert not (tmp_path / "said.jsonl").exists()


def test_warnings_about_the_file_are_reported(config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = module.load_questions

    def warned(file: Any) -> Any:
        found = load(file)
        return type(found)(found.source, found.sha256, found.questions, ("a warning",))

    monkeypatch.setattr(module, "load_questions", warned)
    told = Told()
    answer_questions(config(KNOWN[:1], evaluate={"max_new_tokens": 2}), tmp_path / "said.jsonl", reporter=told)
    assert told.warnings == ["a warning"]


@pytest.mark.parametrize(
    ("out", "changes", "sentence"),
    [
        ("there.jsonl", {}, "there.jsonl already exists; remove it or choose another file"),
        ("asked.jsonl", {}, "asked.jsonl already exists"),
        ("said.csv", {}, "answers are written as JSON lines; give a name that ends in .jsonl"),
        ("said", {}, "give a name that ends in .jsonl"),
        ("there.jsonl/said.jsonl", {}, "there.jsonl is a file; give a folder"),
        ("said.jsonl", {"questions": {"path": "nowhere.csv"}}, "there is no file nowhere.csv"),
        ("said.jsonl", {"questions": {"columns": {"answer": "Antwort"}}}, "questions.columns.answer=Antwort"),
        ("said.jsonl", {"model": "./nowhere"}, "there is no folder ./nowhere"),
        ("said.jsonl", {"text": {"format": "chat"}}, "text.format"),
        (
            "said.jsonl",
            {"evaluate": {"max_new_tokens": 510}},
            "evaluate.max_new_tokens=510 exceed the model's 512 positions",
        ),
    ],
)
def test_refusals(config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, changes: Any, sentence: str):
    monkeypatch.setattr("efface.evaluation.generate._decoder", None)  # nothing may be generated
    (tmp_path / "there.jsonl").write_text("kept")
    settings = config(**changes)
    with pytest.raises(EffaceError) as refused:
        answer_questions(settings, tmp_path / out)
    assert sentence in str(refused.value)
    assert (tmp_path / "there.jsonl").read_text() == "kept"
    assert {path.name for path in tmp_path.iterdir()} == {"asked.jsonl", "there.jsonl"}
