"""A user's own files as a task: ids, scores, warnings, and what is said about rows that cannot be used."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from efface.data import DataConfig, load_task, load_training_set
from efface.errors import EffaceError
from efface.schema import Task

GOOD: dict[str, object] = {"question": "Where?", "answer": "Here"}


def lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def load(folder: Path, forget: str, retain: str = json.dumps(GOOD), **settings: Any) -> Task:
    """Write both files and load them; at most three retain questions are scored."""
    for name, content in (("forget", forget), ("retain", retain)):
        (folder / f"{name}.jsonl").write_bytes(content.encode())
    return load_from(folder / "forget.jsonl", folder / "retain.jsonl", **settings)


def load_from(forget: Path, retain: Path | None = None, **settings: Any) -> Task:
    config = DataConfig(source="files", forget=forget, retain=retain, retain_evaluation=3, **settings)
    return load_task(config, data_dir=None)


def test_every_column_is_read(tmp_path: Path) -> None:
    row = {
        "question": "Who wrote it?",
        "answer": "It was Ann Lee.",
        "golden_answer": "Ann Lee",
        "original_answer": "The author was Ann Lee.",
        "paraphrased_question": "By whom?",
        "paraphrased_answer": "Ann Lee did.",
        "perturbed_answers": ["Bob did.", "Cid did."],
        "key_fact": "ann LEE",
    }
    [item] = load(tmp_path, lines({**row, "name": "Ann"})).forget
    assert item.model_dump(exclude_none=True, exclude={"history", "passage"}) == {
        **row,
        "id": "forget/0001",
        "entity": "Ann",
        "perturbed_answers": ("Bob did.", "Cid did."),
    }


@pytest.mark.parametrize("wrong", ["Bob did.", ["Bob did."]])
def test_wrong_answers_are_one_text_or_a_list(tmp_path: Path, wrong: object) -> None:
    [item] = load(tmp_path, lines({"question": "Who?", "answer": "Ann", "perturbed_answer": wrong})).forget
    assert item.perturbed_answers == ("Bob did.",)


def with_wrong_answers(folder: Path, cell: str) -> Path:
    with (folder / "a.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["question", "answer", "perturbed_answers"], ["Who?", "Ann", cell]])
    return folder / "a.csv"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('["Bob, or", "Cid \\"C\\""]', ("Bob, or", 'Cid "C"')),
        (' ["Bob"]', ("Bob",)),
        ("[]", ()),
        ("", ()),
        ("Bob; Cid", ("Bob; Cid",)),
        ("Bob [sic]", ("Bob [sic]",)),
        ("['Bob', \"Cid's\"]", ("Bob", "Cid's")),  # as pandas writes it
        ("[Redacted] went home", ("[Redacted] went home",)),
        ("[Bob]", ("[Bob]",)),
        ("[1989]", ("[1989]",)),
    ],
)
def test_a_cell_of_csv_holds_a_list_as_json(tmp_path: Path, cell: str, expected: tuple[str, ...]) -> None:
    [item] = load_from(with_wrong_answers(tmp_path, cell)).forget
    assert item.perturbed_answers == expected


@pytest.mark.parametrize("cell", ["['Bob', 'Cid'", '["Bob"'])
def test_a_cell_that_looks_like_a_list_and_is_none(tmp_path: Path, cell: str) -> None:
    path = with_wrong_answers(tmp_path, cell)
    sentence = r"a\.csv, line 2: column 'perturbed_answers' begins as a list and is none; write it as \[\"one\""
    with pytest.raises(EffaceError, match=sentence):
        load_from(path)
    path = with_wrong_answers(tmp_path, '["Bob", 3]')
    with pytest.raises(EffaceError, match="column 'perturbed_answers' must hold text, not a number"):
        load_from(path)


def test_a_text_that_is_no_cell_is_no_list(tmp_path: Path) -> None:
    rows = [{"question": "Who?", "answer": "Ann", "perturbed_answers": '["Bob"]'}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert load_from(tmp_path / "a.json").forget[0].perturbed_answers == ('["Bob"]',)


def test_windows_line_breaks_in_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'question,answer,key_fact\r\n"Who?\r\nAnd when?","Ann,\r\nin May","Ann,\r\nin"\r\n')
    [item] = load_from(path).forget
    assert (item.question, item.answer, item.key_fact) == ("Who?\nAnd when?", "Ann,\nin May", "Ann,\nin")
    (tmp_path / "a.txt").write_bytes(b"Ann wrote poems.\r\n\r\nShe was born in Turku.\r\n")
    assert load_from(tmp_path / "a.txt").forget[0].answer == "Ann wrote poems.\n\nShe was born in Turku."


def test_placeholders_for_no_answer_are_counted(tmp_path: Path) -> None:
    answers = ["Ann", "NaN", "none ", "Null", "N/A", "-", "None of them", "Null Island"]
    rows = [{"question": f"{place}?", "answer": answer} for place, answer in enumerate(answers)]
    [warning] = load(tmp_path, lines(*rows)).warnings
    assert "forget.jsonl: 5 answer(s) look like placeholders for none (first: 'NaN' in line 2); remove" in warning


def test_what_messages_hold_besides_is_named_in_one_warning(tmp_path: Path) -> None:
    thought = {"role": "assistant", "content": "Ann.", "reasoning_content": "Hm."}
    [warning] = load(tmp_path, lines(*[{"messages": [{"role": "user", "content": "Who?"}, thought]}])).warnings
    assert warning.endswith("forget.jsonl: not read in its messages: reasoning_content")


def test_the_first_of_many_bad_rows_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    bad: list[dict[str, object]] = [{**GOOD, "answer": None}, {"question": "Who?"}, {**GOOD, "answer": 7}]
    with pytest.raises(EffaceError) as caught:
        load(tmp_path, lines(GOOD, bad[0], {"question": "Why?", "answer": "Because"}, *bad[1:]))
    assert str(caught.value).endswith(
        "line 2: column 'answer' holds nothing; fill it in or remove the row (2 more rows have a problem)"
    )


def test_ids_are_line_numbers_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    content = lines({"question": "Who?", "answer": "Ann"}) + "\n  \n" + '{"question": "When?", "answer": "Now"}'
    assert [item.id for item in load(tmp_path, content).forget] == ["forget/0001", "forget/0004"]


def test_texts_are_kept_as_they_are(tmp_path: Path) -> None:
    content = '\ufeff{"question": " Who?\u2028", "answer": "Zo\u00eb\\n"}\r\n'
    [item] = load(tmp_path, content).forget
    assert (item.question, item.answer) == (" Who?\u2028", "Zoë\n")


def test_retain_questions_are_scored_evenly_spread(tmp_path: Path) -> None:
    retain = lines(*({"question": f"Question {number}?", "answer": "Yes"} for number in range(1, 10)))
    task = load(tmp_path, lines({"question": "Who?", "answer": "Ann"}), retain)
    forget, kept = task.evaluation
    assert (forget.name, forget.items, forget.entailment_premise) == ("forget", task.forget, "output")
    assert (kept.name, kept.entailment_premise) == ("retain", "answer")
    assert [item.id for item in kept.items] == ["retain/0001", "retain/0004", "retain/0007"]


def test_sources_are_the_files_hashes(tmp_path: Path) -> None:
    content = lines({"question": "Who?", "answer": "Ann"})
    sources = load(tmp_path, content).sources
    assert sources[str(tmp_path / "forget.jsonl")] == hashlib.sha256(content.encode()).hexdigest()
    assert len(sources) == 2


def test_columns_that_mean_nothing_are_named_in_one_warning(tmp_path: Path) -> None:
    [warning] = load(tmp_path, lines({"question": "Who?", "answer": "Ann", "topic": 7, "id": 3})).warnings
    assert warning.endswith("forget.jsonl: columns not read: id, topic")


@pytest.mark.parametrize("retain", [None, "model-answers"])
def test_nothing_need_be_kept(tmp_path: Path, retain: str | None) -> None:
    (tmp_path / "forget.jsonl").write_text(lines(GOOD))
    config = DataConfig(source="files", forget=tmp_path / "forget.jsonl", retain=retain)
    task = load_task(config, data_dir=None)
    assert task.retain == ()
    assert [each.name for each in task.evaluation] == ["forget"]
    assert list(task.sources) == [str(tmp_path / "forget.jsonl")]
    assert load_training_set(config, data_dir=None) == task.forget


def test_passages_are_trained_on_whole_and_scored_by_how_they_go_on(tmp_path: Path) -> None:
    text = "Ann Lee was born in Turku in 1949. She wrote poems about the sea.\n\nThe end."
    task = load(tmp_path, lines({"text": text}), lines({"text": "Bob Lee was born in Oslo."}), passage_length=70)
    assert [(item.id, item.question, item.answer) for item in task.forget] == [
        ("forget/0001/1", "", "Ann Lee was born in Turku in 1949. She wrote poems about the sea."),
        ("forget/0001/2", "", "The end."),
    ]
    forget, kept = task.evaluation
    [scored] = forget.items
    assert (scored.id, scored.passage) == ("forget/0001/1", True)
    assert (scored.question, scored.answer) == ("Ann Lee was born in Turku in 1949.", " She wrote poems about the sea.")
    assert [(item.question, item.answer) for item in task.retain] == [("", "Bob Lee was born in Oslo.")]
    assert [(item.question, item.answer) for item in kept.items] == [("Bob Lee was", " born in Oslo.")]


def test_passages_that_are_all_too_short_to_be_scored_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EffaceError, match=r"forget\.jsonl: no passage is long enough to be scored; give at least one"):
        load(tmp_path, lines({"text": "Ann."}))


def test_a_folder_says_what_it_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("Ann Lee was born in Turku.")
    (tmp_path / "docs" / "b.pdf").write_text("x")
    assert load_from(tmp_path / "docs").warnings == (f"{tmp_path}/docs: not read, being no .txt or .md files: b.pdf",)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"question": "Who?", "anwser": "Ann"}, "line 2: unknown column 'anwser'; rename it to 'answer'"),
        ({**GOOD, "paraphrased_anwser": "x"}, "line 2: unknown column 'paraphrased_anwser'; rename it to 'para"),
        ({"question": "Who?"}, r"line 2: no column 'answer'; add it \(the row has: question\)"),
        ({"prompt": "Who?", "answer": "Ann"}, r"no column 'question'; add it \(the row has: prompt, answer\)"),
        ({**GOOD, "answer": " \n"}, "line 2: column 'answer' is blank; fill it in or remove the row"),
        ({**GOOD, "answer": 1949}, "line 2: column 'answer' must hold text, not a number; turn it into text"),
        ({**GOOD, "answer": None}, "column 'answer' holds nothing; fill it in or remove the row"),
        ({**GOOD, "paraphrased_answer": ""}, "column 'paraphrased_answer' is blank"),
        ({**GOOD, "perturbed_answer": ["a", ["b"]]}, "column 'perturbed_answer' must hold text, not a list"),
        ({**GOOD, "key_fact": "There"}, r"column 'key_fact' \('There'\) does not occur in the answer"),
        ({**GOOD, "question": "\ud83d"}, "column 'question' holds half a surrogate pair"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, object], sentence: str) -> None:
    with pytest.raises(EffaceError, match=rf"forget\.jsonl, .*{sentence}"):
        load(tmp_path, lines({"question": "Why?", "answer": "Because"}, row))


def test_the_setting_to_give_is_that_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(EffaceError, match=r"retain\.jsonl has .* give data\.retain\.columns\.answer=NAME"):
        load(tmp_path, lines({"question": "Who?", "answer": "Ann"}), lines({"question": "Who?", "b": "Ann"}))


def test_what_is_forgotten_and_kept_alike_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EffaceError, match=r"forget/0001 \(to forget\) and retain/0001 \(to keep\)"):
        load(tmp_path, lines(GOOD), lines(GOOD))
