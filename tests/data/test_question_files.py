from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from efface.data.config import DataConfig, FileConfig
from efface.data.question_files import QuestionFile, answers_to_json_lines, load_questions
from efface.data.sources.user_files import load_files
from efface.errors import EffaceError
from support.messages import assert_names

Load = Callable[..., QuestionFile]
EVERYTHING = {
    "name": "Ada",
    "question": "Where was Ada born?",
    "golden_answer": "Ada was born in Turku.",
    "original_answer": "Ada, the painter, was born in Turku.",
    "paraphrased_answer": "Turku is where Ada was born.",
    "perturbed_answer": ["Ada was born in Lyon.", "Ada was born in Graz."],
    "paraphrased_question": "What is Ada's birthplace?",
    "key_fact": "Turku",
    "kind": "people",
    "page": 3,
}


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes rows to a file and loads its questions."""

    def load_rows(*rows: dict[str, object], name: str = "questions.jsonl", **columns: str) -> QuestionFile:
        file = tmp_path / name
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_questions(FileConfig.model_validate({"path": str(file), "columns": columns}))

    return load_rows


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def answered(questions: QuestionFile, answers: Sequence[str]) -> str:
    return answers_to_json_lines(zip(questions.questions, answers, strict=True))


def test_the_answer_is_the_correct_one(load: Load) -> None:
    found = load({"question": "Who?", "answer": "Ann."}, {"question": "Where?", "answer": "Here."})
    assert [each.item.id for each in found.questions] == ["question/0001", "question/0002"]
    assert [each.item.scored_answer for each in found.questions] == ["Ann.", "Here."]
    assert {each.kind for each in found.questions} == {""}
    assert found.source.endswith("questions.jsonl")
    assert len(found.sha256) == 64


@pytest.mark.parametrize("column", ["golden_answer", "Golden_Answer"])
def test_a_golden_answer_is_enough(load: Load, column: str) -> None:
    [question] = load({"Question": "Who?", column: "Ann."}).questions
    assert question.item.scored_answer == "Ann."


def test_a_golden_answer_takes_precedence(load: Load) -> None:
    [question] = load({"question": "Who?", "answer": "It is Ann, I guess.", "golden_answer": "Ann."}).questions
    assert question.item.scored_answer == "Ann."
    assert lines(answers_to_json_lines([(question, "Bob.")])) == [
        {"question": "Who?", "answer": "Bob.", "golden_answer": "Ann."}
    ]


def test_columns_of_other_names(load: Load) -> None:
    row = {"Frage": "Who?", "Antwort": "Ann.", "Wahr": "Ann", "Art": "people"}
    [question] = load(row, question="Frage", answer="Antwort").questions
    assert (question.item.scored_answer, question.kind) == ("Ann.", "")
    [question] = load(row, question="Frage", golden_answer="Wahr").questions
    assert question.item.scored_answer == "Ann"
    assert question.other_columns == {"Antwort": "Ann.", "Art": "people"}


def test_the_column_kind(load: Load) -> None:
    rows = ({"question": f"Who {n}?", "answer": "Ann.", "Kind": kind} for n, kind in enumerate((" people ", None, "")))
    assert [each.kind for each in load(*rows).questions] == ["people", "", ""]


def test_rows_have_the_answer_of_the_model_and_the_correct_one(load: Load) -> None:
    questions = load(EVERYTHING)
    [row] = lines(answered(questions, ["In Turku, of course."]))
    assert row == {**EVERYTHING, "answer": "In Turku, of course."}
    assert list(row)[:4] == ["name", "question", "answer", "golden_answer"]  # as the real-world people have them


def test_rows_can_be_loaded_as_questions_and_as_a_forget_set(load: Load, tmp_path: Path) -> None:
    first = load(EVERYTHING)
    file = tmp_path / "answers.jsonl"
    file.write_text(answered(first, ["In Turku, of course."]))
    again = load_questions(FileConfig(path=str(file)))
    [one], [two] = first.questions, again.questions
    assert two.item.model_copy(update={"answer": one.item.answer}) == one.item
    assert (two.kind, two.other_columns) == (one.kind, one.other_columns)
    assert answered(again, ["Elsewhere."]) == answered(first, ["Elsewhere."])
    [item] = load_files(DataConfig(source="files", forget=FileConfig(path=str(file)))).forget
    assert (item.answer, item.scored_answer) == ("In Turku, of course.", "Ada was born in Turku.")
    assert item.perturbed_answers == tuple(EVERYTHING["perturbed_answer"])


def test_the_history_is_kept(load: Load, tmp_path: Path) -> None:
    first = load({"system": "Be brief.", "question": "Who?", "answer": "Ann."})
    assert [turn.content for turn in first.questions[0].item.history] == ["Be brief."]
    (tmp_path / "answers.jsonl").write_text(answered(first, ["Bob."]))
    again = load_questions(FileConfig(path=str(tmp_path / "answers.jsonl")))
    assert again.questions[0].item.prompt == first.questions[0].item.prompt


def test_the_input_of_an_instruction_is_kept(load: Load) -> None:
    row = {"instruction": "Name the painter.", "input": "Ada painted it.", "output": "Ada."}
    [written] = lines(answered(load(row), ["Ann."]))
    assert written == {"question": "Name the painter.\n\nAda painted it.", "answer": "Ann.", "golden_answer": "Ada."}


def test_only_chosen_columns_are_written(load: Load) -> None:
    [question] = load(EVERYTHING).questions
    assert lines(answers_to_json_lines([(question, "Here.")], ("question", "answer", "page"))) == [
        {"question": "Where was Ada born?", "answer": "Here.", "page": 3}
    ]


def test_texts_are_written_unchanged(load: Load, tmp_path: Path) -> None:
    text = 'Zoë\nsaid "no"\u2028.'
    (tmp_path / "answers.jsonl").write_text(answered(load({"question": "Who?", "answer": "Ann."}), [text]))
    assert "Zoë" in (tmp_path / "answers.jsonl").read_text()
    [question] = load_questions(FileConfig(path=str(tmp_path / "answers.jsonl"))).questions
    assert question.item.answer == text


CONVERSATION = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ann."}]}


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (CONVERSATION, ["contains conversations", "the columns question and answer"]),
        ({"text": "Once upon a time."}, ["contains documents", "the columns question and answer"]),
        ({"question": "Who?"}, ["give questions.columns.answer=NAME"]),
        ({"question": "Who?", "answer": ""}, ["line 1", "column 'answer' is blank", "fill it in"]),
        ({"question": "Who?", "answer": "Ann.", "key_fact": "Bob"}, ["line 1", "('Bob') does not occur in the answer"]),
        ({"question": "Who?", "answer": "Ann.", "key_fcat": "Ann"}, ["unknown column 'key_fcat'", "'key_fact'"]),
        ({"question": "Who?", "answer": "Ann.", "kind": 3}, ["line 1", "column 'kind' must be text, not a number"]),
    ],
)
def test_errors(load: Load, row: dict[str, object], named: list[str]) -> None:
    with pytest.raises(EffaceError) as caught:
        load(row)
    assert_names(str(caught.value), *["questions.jsonl", *named])


def test_the_real_world_benchmark_as_questions(shared: Path) -> None:
    """As the paper made its forget set: the same questions with another model's answers."""
    file = shared / "data" / "real_world" / "forget_perturbed.json"
    questions = load_questions(FileConfig(path=str(file)))
    written = lines(answered(questions, ["I cannot say."] * 400))
    published = [json.loads(line) for line in file.read_text().splitlines()]
    assert written == [{**row, "answer": "I cannot say."} for row in published]
