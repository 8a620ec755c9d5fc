"""Questions to ask a model, and what it says to them as rows that can be forgotten, kept and asked again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from efface.data.config import DataConfig, FileConfig
from efface.data.question_files import QuestionFile, answers_to_json_lines, load_questions
from efface.data.sources.user_files import load_files
from efface.errors import EffaceError

Asked = Callable[..., QuestionFile]
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
def asked(tmp_path: Path) -> Asked:
    """The questions of these rows, which lie in a file."""

    def load(*rows: dict[str, object], name: str = "asked.jsonl", **columns: str) -> QuestionFile:
        file = tmp_path / name
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_questions(FileConfig.model_validate({"path": str(file), "columns": columns}))

    return load


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def said(questions: QuestionFile, words: Sequence[str]) -> str:
    return answers_to_json_lines(zip(questions.questions, words, strict=True))


def test_the_answer_is_the_right_one(asked: Asked) -> None:
    found = asked({"question": "Who?", "answer": "Ann."}, {"question": "Where?", "answer": "Here."})
    assert [each.item.id for each in found.questions] == ["question/0001", "question/0002"]
    assert [each.item.scored_answer for each in found.questions] == ["Ann.", "Here."]
    assert {each.kind for each in found.questions} == {""}
    assert found.source.endswith("asked.jsonl")
    assert len(found.sha256) == 64


@pytest.mark.parametrize("column", ["golden_answer", "Golden_Answer"])
def test_a_golden_answer_alone_will_do(asked: Asked, column: str) -> None:
    [question] = asked({"Question": "Who?", column: "Ann."}).questions
    assert question.item.scored_answer == "Ann."


def test_a_golden_answer_counts_before_someone_s_own_words(asked: Asked) -> None:
    [question] = asked({"question": "Who?", "answer": "It is Ann, I guess.", "golden_answer": "Ann."}).questions
    assert question.item.scored_answer == "Ann."
    assert lines(answers_to_json_lines([(question, "Bob.")])) == [
        {"question": "Who?", "answer": "Bob.", "golden_answer": "Ann."}
    ]


def test_columns_of_other_names(asked: Asked) -> None:
    row = {"Frage": "Who?", "Antwort": "Ann.", "Wahr": "Ann", "Art": "people"}
    [question] = asked(row, question="Frage", answer="Antwort").questions
    assert (question.item.scored_answer, question.kind) == ("Ann.", "")
    [question] = asked(row, question="Frage", golden_answer="Wahr").questions
    assert question.item.scored_answer == "Ann"
    assert question.others == {"Antwort": "Ann.", "Art": "people"}


def test_the_kind_is_what_the_row_says(asked: Asked) -> None:
    rows = ({"question": f"Who {n}?", "answer": "Ann.", "Kind": kind} for n, kind in enumerate((" people ", None, "")))
    assert [each.kind for each in asked(*rows).questions] == ["people", "", ""]


def test_rows_have_the_model_s_words_beside_the_right_answer(asked: Asked) -> None:
    questions = asked(EVERYTHING)
    [row] = lines(said(questions, ["In Turku, of course."]))
    assert row == {**EVERYTHING, "answer": "In Turku, of course."}
    assert list(row)[:4] == ["name", "question", "answer", "golden_answer"]  # as the real-world people have them


def test_rows_can_be_asked_again_and_forgotten(asked: Asked, tmp_path: Path) -> None:
    first = asked(EVERYTHING)
    file = tmp_path / "said.jsonl"
    file.write_text(said(first, ["In Turku, of course."]))
    again = load_questions(FileConfig(path=str(file)))
    [one], [two] = first.questions, again.questions
    assert two.item.model_copy(update={"answer": one.item.answer}) == one.item
    assert (two.kind, two.others) == (one.kind, one.others)
    assert said(again, ["Elsewhere."]) == said(first, ["Elsewhere."])
    [item] = load_files(DataConfig(source="files", forget=FileConfig(path=str(file)))).forget
    assert (item.answer, item.scored_answer) == ("In Turku, of course.", "Ada was born in Turku.")
    assert item.perturbed_answers == tuple(EVERYTHING["perturbed_answer"])


def test_what_was_said_before_stays(asked: Asked, tmp_path: Path) -> None:
    first = asked({"system": "Be brief.", "question": "Who?", "answer": "Ann."})
    assert [turn.content for turn in first.questions[0].item.history] == ["Be brief."]
    (tmp_path / "said.jsonl").write_text(said(first, ["Bob."]))
    again = load_questions(FileConfig(path=str(tmp_path / "said.jsonl")))
    assert again.questions[0].item.prompt == first.questions[0].item.prompt


def test_an_instruction_keeps_what_it_is_about(asked: Asked) -> None:
    row = {"instruction": "Name the painter.", "input": "Ada painted it.", "output": "Ada."}
    [written] = lines(said(asked(row), ["Ann."]))
    assert written == {"question": "Name the painter.\n\nAda painted it.", "answer": "Ann.", "golden_answer": "Ada."}


def test_only_the_columns_that_are_asked_for(asked: Asked) -> None:
    [question] = asked(EVERYTHING).questions
    assert lines(answers_to_json_lines([(question, "Here.")], ("question", "answer", "page"))) == [
        {"question": "Where was Ada born?", "answer": "Here.", "page": 3}
    ]


def test_a_text_is_written_as_it_is(asked: Asked, tmp_path: Path) -> None:
    words = 'Zoë\nsaid "no"\u2028.'
    (tmp_path / "said.jsonl").write_text(said(asked({"question": "Who?", "answer": "Ann."}), [words]))
    assert "Zoë" in (tmp_path / "said.jsonl").read_text()
    [question] = load_questions(FileConfig(path=str(tmp_path / "said.jsonl"))).questions
    assert question.item.answer == words


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ann."}]},
            "holds convers",
        ),
        ({"text": "Once upon a time."}, "holds documents, and only questions can be asked"),
        ({"question": "Who?"}, "give questions.columns.answer=NAME"),
        ({"question": "Who?", "answer": ""}, "line 1: column 'answer' is blank"),
        ({"question": "Who?", "answer": "Ann.", "key_fact": "Bob"}, "'Bob') does not occur in the answer"),
        ({"question": "Who?", "answer": "Ann.", "key_fcat": "Ann"}, "unknown column 'key_fcat'; rename it to"),
        ({"question": "Who?", "answer": "Ann.", "kind": 3}, "column 'kind' must hold text, not a number"),
    ],
)
def test_what_cannot_be_asked(asked: Asked, row: dict[str, object], sentence: str) -> None:
    with pytest.raises(EffaceError) as refused:
        asked(row)
    assert sentence in str(refused.value)


def test_the_real_world_people_can_be_asked(shared: Path) -> None:
    """As the paper made its forget set: their questions, another model's words."""
    file = shared / "data" / "real_world" / "forget_perturbed.json"
    questions = load_questions(FileConfig(path=str(file)))
    written = lines(said(questions, ["I cannot say."] * 400))
    published = [json.loads(line) for line in file.read_text().splitlines()]
    assert written == [{**row, "answer": "I cannot say."} for row in published]
