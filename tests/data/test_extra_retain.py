from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from efface.data import load_task
from efface.data.config import DataConfig
from efface.data.sources.generic_questions import first_generic_questions, with_model_answers
from efface.errors import EffaceError
from efface.schema import Task
from support.messages import assert_names

AUTHORS: dict[str, Any] = {"source": "synthetic-authors", "authors": 3, "forget_authors": 1}


@pytest.fixture
def instructions(tmp_path: Path) -> str:
    """A file of ten instructions."""
    path = tmp_path / "alpaca.jsonl"
    path.write_text(
        "".join(json.dumps({"question": f"Add {n} and 1.", "answer": f"{n + 1}"}) + "\n" for n in range(10))
    )
    return str(path)


def load(instructions: str, **settings: Any) -> Task:
    return load_task(DataConfig(**AUTHORS, extra_retain=instructions, **settings), data_dir=None)


def test_items_are_trained_on_and_not_scored(instructions: str) -> None:
    plain, task = load_task(DataConfig(**AUTHORS), data_dir=None), load(instructions)
    assert task.retain[: len(plain.retain)] == plain.retain
    assert [item.question for item in task.retain[len(plain.retain) :]] == [f"Add {n} and 1." for n in range(10)]
    assert (task.forget, task.evaluation) == (plain.forget, plain.evaluation)
    assert task.sources == {**plain.sources, instructions: hashlib.sha256(Path(instructions).read_bytes()).hexdigest()}
    assert len({item.id for item in task.retain}) == len(task.retain)


def test_items_are_evenly_spaced(instructions: str) -> None:
    task = load(instructions, extra_retain_items=3)
    assert [item.question for item in task.retain[40:]] == ["Add 0 and 1.", "Add 3 and 1.", "Add 6 and 1."]


def test_every_request_has_the_same_items(instructions: str) -> None:
    first, second = load(instructions), load(instructions, task=2, forgotten_before=(1,))
    assert [len(task.retain) for task in (first, second)] == [40 + 10, 20 + 10]
    assert first.retain[-10:] == second.retain[-10:]


def test_it_may_be_the_whole_retain_set(tmp_path: Path, instructions: str) -> None:
    forget = tmp_path / "forget.jsonl"
    forget.write_text('{"question": "Who?", "answer": "Ann."}\n')
    task = load_task(DataConfig(source="files", forget=str(forget), extra_retain=instructions), data_dir=None)
    assert len(task.retain) == 10
    assert [each.name for each in task.evaluation] == ["forget"]


def test_it_follows_the_model_answers(tmp_path: Path, instructions: str) -> None:
    forget = tmp_path / "forget.jsonl"
    forget.write_text('{"question": "Who?", "answer": "Ann."}\n')
    data = DataConfig(source="files", forget=str(forget), retain="model-answers", extra_retain=instructions)
    answers = {each.id: "Yes." for each in first_generic_questions(8)}
    task = with_model_answers(load_task(data, data_dir=None), answers, retain_evaluation=300)
    assert [item.id.partition("/")[0] for item in task.retain] == ["generic"] * 6 + ["extra_retain"] * 10


def test_conflicts_with_the_forget_set(tmp_path: Path, instructions: str) -> None:
    forget = tmp_path / "forget.jsonl"
    forget.write_text('{"question": "add 4 and  1.", "answer": "5"}\n')
    data = DataConfig(source="files", forget=str(forget), extra_retain=instructions)
    with pytest.raises(EffaceError) as caught:
        load_task(data, data_dir=None)
    assert_names(str(caught.value), *["forget/0001", "extra_retain/0005", "the same question", "remove one of them"])
    forget.write_text('{"question": "Add 4 and 1.", "answer": "I do not add."}\n')
    [warning] = load_task(data, data_dir=None).warnings
    assert_names(warning, *["1 question(s)", "forget/0001 and extra_retain/0005", "different answers"])


def test_errors_name_the_file_and_the_setting(tmp_path: Path) -> None:
    with pytest.raises(EffaceError, match=r"no file .*nowhere\.jsonl"):
        load(str(tmp_path / "nowhere.jsonl"))
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "Who?", "b": "Ann"}\n')
    with pytest.raises(EffaceError, match=r"data\.extra_retain\.columns\.answer=NAME"):
        load(str(path))
