from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.data.config import DataConfig, FileConfig
from efface.data.sources.user_files import load_file, load_files, load_files_training_set
from efface.errors import EffaceError
from efface.schema import Item, Task
from support.messages import assert_names

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
    return load_files(config)


def test_ids_have_line_numbers(tmp_path: Path) -> None:
    content = lines({"question": "Who?", "answer": "Ann"}) + "\n  \n" + '{"question": "When?", "answer": "Now"}'
    assert [item.id for item in load(tmp_path, content).forget] == ["forget/0001", "forget/0004"]


def test_texts_are_unchanged_except_for_windows_line_breaks(tmp_path: Path) -> None:
    content = '\ufeff{"question": " Who?\u2028", "answer": "Zo\u00eb\\n"}\r\n'
    [item] = load(tmp_path, content).forget
    assert (item.question, item.answer) == (" Who?\u2028", "Zoë\n")
    path = tmp_path / "a.csv"
    path.write_bytes(b'question,answer,key_fact\r\n"Who?\r\nAnd when?","Ann,\r\nin May","Ann,\r\nin"\r\n')
    [item] = load_from(path).forget
    assert (item.question, item.answer, item.key_fact) == ("Who?\nAnd when?", "Ann,\nin May", "Ann,\nin")
    (tmp_path / "a.txt").write_bytes(b"Ann wrote poems.\r\n\r\nShe was born in Turku.\r\n")
    assert load_from(tmp_path / "a.txt").forget[0].answer == "Ann wrote poems.\n\nShe was born in Turku."


def test_scored_retain_questions_are_evenly_spaced(tmp_path: Path) -> None:
    retain = lines(*({"question": f"Question {number}?", "answer": "Yes"} for number in range(1, 10)))
    task = load(tmp_path, lines({"question": "Who?", "answer": "Ann"}), retain)
    forget, retained = task.evaluation
    assert (forget.name, forget.items, forget.entailment_premise) == ("forget", task.forget, "output")
    assert (retained.name, retained.entailment_premise) == ("retain", "answer")
    assert [item.id for item in retained.items] == ["retain/0001", "retain/0004", "retain/0007"]


def test_sources_are_hashes_of_the_files(tmp_path: Path) -> None:
    content = lines({"question": "Who?", "answer": "Ann"})
    sources = load(tmp_path, content).sources
    assert sources[str(tmp_path / "forget.jsonl")] == hashlib.sha256(content.encode()).hexdigest()
    assert len(sources) == 2


@pytest.mark.parametrize("retain", [None, "model-answers"])
def test_the_retain_set_may_be_empty(tmp_path: Path, retain: str | None) -> None:
    (tmp_path / "forget.jsonl").write_text(lines(GOOD))
    config = DataConfig(source="files", forget=tmp_path / "forget.jsonl", retain=retain)
    task = load_files(config)
    assert task.retain == ()
    assert [each.name for each in task.evaluation] == ["forget"]
    assert list(task.sources) == [str(tmp_path / "forget.jsonl")]
    assert load_files_training_set(config) == task.forget


def test_passages_are_trained_on_as_a_whole_and_scored_on_their_second_half(tmp_path: Path) -> None:
    text = "Ann Lee was born in Turku in 1949. She wrote poems about the sea.\n\nThe end."
    task = load(tmp_path, lines({"text": text}), lines({"text": "Bob Lee was born in Oslo."}), passage_length=70)
    assert [(item.id, item.question, item.answer) for item in task.forget] == [
        ("forget/0001/1", "", "Ann Lee was born in Turku in 1949. She wrote poems about the sea."),
        ("forget/0001/2", "", "The end."),
    ]
    forget, retained = task.evaluation
    [scored] = forget.items
    assert (scored.id, scored.passage) == ("forget/0001/1", True)
    assert (scored.question, scored.answer) == ("Ann Lee was born in Turku in 1949.", " She wrote poems about the sea.")
    assert [(item.question, item.answer) for item in task.retain] == [("", "Bob Lee was born in Oslo.")]
    assert [(item.question, item.answer) for item in retained.items] == [("Bob Lee was", " born in Oslo.")]


PLACEHOLDERS = ["Ann", "NaN", "none ", "Null", "N/A", "-", "None of them", "Null Island"]
REASONING = {"role": "assistant", "content": "Ann.", "reasoning_content": "Hm."}


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (
            [{"question": f"{number}?", "answer": answer} for number, answer in enumerate(PLACEHOLDERS)],
            ["5 answer(s)", "first: 'NaN' in line 2", "remove the rows"],
        ),
        ([{"messages": [{"role": "user", "content": "Who?"}, REASONING]}], ["messages not read: reasoning_content"]),
        ([{"question": "Who?", "answer": "Ann", "topic": 7, "id": 3}], ["columns not read: id, topic"]),
    ],
)
def test_warnings(tmp_path: Path, rows: list[dict[str, object]], named: list[str]) -> None:
    [warning] = load(tmp_path, lines(*rows)).warnings
    assert_names(warning, *[f"{tmp_path}/forget.jsonl: ", *named])


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([GOOD, {"question": "Who?", "anwser": "Ann"}], ["line 2", "unknown column 'anwser'", "'answer'"]),
        ([GOOD, {**GOOD, "paraphrased_anwser": "x"}], ["line 2", "unknown column 'paraphrased_anwser'", "'para"]),
        ([GOOD, {"question": "Who?"}], ["line 2", "no column 'answer'", "(the row has: question)"]),
        ([GOOD, {"prompt": "Who?", "answer": "Ann"}], ["line 2", "no column 'question'", "has: prompt, answer)"]),
        ([GOOD, {**GOOD, "answer": " \n"}], ["line 2", "column 'answer' is blank", "fill it in or remove the row"]),
        ([GOOD, {**GOOD, "answer": 1949}], ["line 2", "column 'answer' must be text, not a number", "convert it"]),
        ([GOOD, {**GOOD, "answer": None}], ["line 2", "column 'answer' is null or empty", "fill it in"]),
        ([GOOD, {**GOOD, "paraphrased_answer": ""}], ["line 2", "column 'paraphrased_answer' is blank"]),
        ([GOOD, {**GOOD, "perturbed_answer": ["a", ["b"]]}], ["line 2", "'perturbed_answer' must be text, not a list"]),
        ([GOOD, {**GOOD, "key_fact": "There"}], ["line 2", "column 'key_fact' ('There') does not occur"]),
        ([GOOD, {**GOOD, "question": "\ud83d"}], ["line 2", "column 'question'", "surrogate pair"]),
        (
            [GOOD, {**GOOD, "answer": None}, {"question": "Who?"}, {**GOOD, "answer": 7}],
            ["line 2", "null or empty", "(2 more rows have a problem)"],
        ),
        ([{"text": "Ann."}], ["no passage is long enough to be scored", "at least one of 20 characters"]),
        ([{"question": "Where?", "b": "Here"}], ["give data.forget.columns.answer=NAME"]),
    ],
)
def test_errors(tmp_path: Path, rows: list[dict[str, object]], named: list[str]) -> None:
    with pytest.raises(EffaceError) as caught:
        load(tmp_path, lines(*rows), lines({"question": "Why?", "answer": "Because"}))
    assert_names(str(caught.value), *[f"{tmp_path}/forget.jsonl", *named])


def test_errors_name_the_setting_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(EffaceError, match=r"retain\.jsonl .* give data\.retain\.columns\.answer=NAME"):
        load(tmp_path, lines({"question": "Who?", "answer": "Ann"}), lines({"question": "Who?", "b": "Ann"}))


@pytest.fixture
def write_facts(tmp_path: Path) -> Callable[..., str]:
    def write(name: str, *numbers: int) -> str:
        path = tmp_path / f"{name}.jsonl"
        path.write_text(lines(*({"question": f"Who is {n}?", "answer": f"{n} is a poet."} for n in numbers)))
        return str(path)

    return write


def questions(items: tuple[Item, ...]) -> list[str]:
    return [item.question for item in items]


def test_two_requests(write_facts: Callable[..., str]) -> None:
    """The retain file contains the forget sets; case and white space are ignored."""
    requests = [write_facts("one", 0, 1), write_facts("two", 1, 2)]
    with Path(requests[1]).open("a") as file:
        file.write(lines({"question": "who  is 3?", "answer": "3 IS a poet."}))
    settings: dict[str, Any] = {"retain_minus_forget": True, "retain": write_facts("retain", *range(8))}
    first = load_files(DataConfig(source="files", forget=requests[0], **settings))
    second = load_files(DataConfig(source="files", forget=requests[1], forgotten_before=(requests[0],), **settings))
    assert questions(first.retain) == [f"Who is {n}?" for n in range(2, 8)]
    assert questions(second.retain) == [f"Who is {n}?" for n in range(4, 8)]
    assert {each.name: len(each.items) for each in second.evaluation} == {"forget": 3, "forgotten-1": 2, "retain": 4}
    assert second.evaluation[1].items == first.evaluation[0].items
    assert f"{requests[1]}: 1 item(s) were forgotten by an earlier request" in second.warnings
    assert set(second.sources) == {*requests, settings["retain"]}


@pytest.mark.parametrize(
    ("forget", "named"),
    [
        ([1], ["forget/0001", "retain/0002", "the same question with the same answer"]),
        ([2, 0], ["forget.jsonl: earlier requests forgot all of its items", "remove this request"]),
    ],
)
def test_errors_about_requests(write_facts: Callable[..., str], forget: list[int], named: list[str]) -> None:
    """Without retain_minus_forget, a forget item may not be in the retain file; a request must forget something new."""
    earlier = (write_facts("one", 0), write_facts("two", 2))
    settings = {"forget": write_facts("forget", *forget), "retain": write_facts("retain", 0, 1, 3)}
    with pytest.raises(EffaceError) as caught:
        load_files(DataConfig.model_validate({"source": "files", "forgotten_before": earlier, **settings}))
    assert_names(str(caught.value), *named)


def test_extra_retain_has_its_own_ids(write_facts: Callable[..., str]) -> None:
    file = load_file(FileConfig(path=write_facts("extra", 3, 4)), "extra_retain", passage_length=100)
    assert [item.id for item in file.items] == ["extra_retain/0001", "extra_retain/0002"]
    assert file.scored_items() == file.items
