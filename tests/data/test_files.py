"""A user's own files: what is read, and what is said about what cannot be."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from efface.data.files import load_files
from efface.errors import EffaceError
from efface.schema import Task

GOOD = {"question": "Where?", "answer": "Here"}


def load(folder: Path, forget: str | bytes, retain: str | bytes = json.dumps(GOOD)) -> Task:
    """Write both files and load them; at most three retain questions are scored."""
    for name, content in (("forget", forget), ("retain", retain)):
        (folder / f"{name}.jsonl").write_bytes(content if isinstance(content, bytes) else content.encode())
    return load_files(folder / "forget.jsonl", folder / "retain.jsonl", retain_evaluation=3)


def lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_every_column_is_read(tmp_path: Path) -> None:
    row = {
        "question": "Who wrote it?",
        "answer": "It was Ann Lee.",
        "golden_answer": "Ann Lee",
        "paraphrased_question": "By whom?",
        "paraphrased_answer": "Ann Lee did.",
        "perturbed_answers": ["Bob did.", "Cid did."],
        "key_fact": "ann LEE",
    }
    [item] = load(tmp_path, lines(row)).forget
    assert item.model_dump(exclude_none=True) == {
        **row,
        "id": "forget/0001",
        "perturbed_answers": ("Bob did.", "Cid did."),
    }


@pytest.mark.parametrize("wrong", ["Bob did.", ["Bob did."]])
def test_wrong_answers_are_one_text_or_a_list(tmp_path: Path, wrong: object) -> None:
    [item] = load(tmp_path, lines({"question": "Who?", "answer": "Ann", "perturbed_answer": wrong})).forget
    assert item.perturbed_answers == ("Bob did.",)


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


def test_columns_that_mean_nothing_are_named_in_a_warning(tmp_path: Path) -> None:
    [warning] = load(tmp_path, lines({"question": "Who?", "answer": "Ann", "topic": 7})).warnings
    assert warning.endswith("forget.jsonl: columns not read: topic")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"question": "Who?", "anwser": "Ann"}, "line 2: unknown column 'anwser'; rename it to 'answer'"),
        ({**GOOD, "paraphrased_anwser": "x"}, "line 2: unknown column 'paraphrased_anwser'; rename it to 'para"),
        ({"question": "Who?"}, r"line 2: no column 'answer'; add it \(the line has: question\)"),
        ({"prompt": "Who?", "answer": "Ann"}, r"no column 'question'; add it \(the line has: prompt, answer\)"),
        ({**GOOD, "answer": " \n"}, "line 2: column 'answer' is blank; fill it in or remove the line"),
        ({**GOOD, "answer": 1949}, "line 2: column 'answer' must hold text, not a number; write it in double quotes"),
        ({**GOOD, "answer": None}, "column 'answer' must hold text, not null"),
        ({**GOOD, "paraphrased_answer": ""}, "column 'paraphrased_answer' is blank"),
        ({**GOOD, "perturbed_answer": ["a", ["b"]]}, "column 'perturbed_answer' must hold text, not a list"),
        ({**GOOD, "key_fact": "There"}, r"column 'key_fact' \('There'\) does not occur in the answer"),
        ({**GOOD, "question": "\ud83d"}, "column 'question' holds half a surrogate pair"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, object], sentence: str) -> None:
    with pytest.raises(EffaceError, match=rf"forget\.jsonl, .*{sentence}"):
        load(tmp_path, lines({"question": "Why?", "answer": "Because"}, row))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"forget\.jsonl is empty; write one JSON object"),
        (b"\n \n", r"forget\.jsonl is empty"),
        (b'{"question": "Who?", "answer": "Ann"}\n{"question": ', r"line 2: not valid JSON \(Expecting value\)"),
        (b"[" * 100_000, "line 1: not valid JSON"),
        (b"[]", "line 1: a list, not a JSON object; write one object per line"),
        (b'"question"', "line 1: text, not a JSON object"),
        (b'\n{"question": "Who?", "answer": "Zo\xeb"}', "line 2: not UTF-8 text; save the file as UTF-8"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(EffaceError, match=sentence):
        load(tmp_path, content)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(EffaceError, match=r"there is no file .*nowhere\.jsonl; check the path"):
        load_files(tmp_path / "nowhere.jsonl", tmp_path, retain_evaluation=3)
    with pytest.raises(EffaceError, match="is a folder; give the JSON-lines file inside it"):
        load_files(tmp_path, tmp_path, retain_evaluation=3)


def test_what_is_forgotten_and_kept_alike_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EffaceError, match=r"forget/0001 \(to forget\) and retain/0001 \(to keep\)"):
        load(tmp_path, lines(GOOD), lines(GOOD))
