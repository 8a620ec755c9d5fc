"""Unrelated instructions beside what is kept."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from efface.config.continual import request_data
from efface.data import load_task
from efface.data.config import DataConfig
from efface.data.sources.generic_questions import first_generic_questions, with_model_answers
from efface.errors import EffaceError
from efface.schema import Task

AUTHORS: dict[str, Any] = {"source": "synthetic-authors", "authors": 3, "forget_authors": 1}


@pytest.fixture
def padding(tmp_path: Path) -> str:
    """Ten instructions."""
    path = tmp_path / "alpaca.jsonl"
    path.write_text(
        "".join(json.dumps({"question": f"Add {n} and 1.", "answer": f"{n + 1}"}) + "\n" for n in range(10))
    )
    return str(path)


def padded(padding: str, **settings: Any) -> Task:
    return load_task(DataConfig(**AUTHORS, extra_retain=padding, **settings), data_dir=None)


def test_padding_is_kept_and_not_scored(padding: str) -> None:
    plain, task = load_task(DataConfig(**AUTHORS), data_dir=None), padded(padding)
    assert task.retain[: len(plain.retain)] == plain.retain
    assert [item.question for item in task.retain[len(plain.retain) :]] == [f"Add {n} and 1." for n in range(10)]
    assert (task.forget, task.evaluation) == (plain.forget, plain.evaluation)
    assert task.sources == {**plain.sources, padding: hashlib.sha256(Path(padding).read_bytes()).hexdigest()}
    assert len({item.id for item in task.retain}) == len(task.retain)


def test_at_most_so_many_evenly_spread(padding: str) -> None:
    task = padded(padding, extra_retain_items=3)
    assert [item.question for item in task.retain[40:]] == ["Add 0 and 1.", "Add 3 and 1.", "Add 6 and 1."]


def test_every_request_has_it(padding: str) -> None:
    data = DataConfig(**AUTHORS, extra_retain=padding)
    first, second = (load_task(each, data_dir=None) for each in request_data(data, (1, 2)))
    assert [len(task.retain) for task in (first, second)] == [40 + 10, 20 + 10]
    assert first.retain[-10:] == second.retain[-10:]


def test_padding_alone_is_a_retain_set(tmp_path: Path, padding: str) -> None:
    forget = tmp_path / "forget.jsonl"
    forget.write_text('{"question": "Who?", "answer": "Ann."}\n')
    task = load_task(DataConfig(source="files", forget=str(forget), extra_retain=padding), data_dir=None)
    assert len(task.retain) == 10
    assert [each.name for each in task.evaluation] == ["forget"]


def test_it_stays_beside_the_models_own_answers(tmp_path: Path, padding: str) -> None:
    forget = tmp_path / "forget.jsonl"
    forget.write_text('{"question": "Who?", "answer": "Ann."}\n')
    data = DataConfig(source="files", forget=str(forget), retain="model-answers", extra_retain=padding)
    answers = {each.id: "So it is." for each in first_generic_questions(8)}
    task = with_model_answers(load_task(data, data_dir=None), answers, retain_evaluation=300)
    assert [item.id.partition("/")[0] for item in task.retain] == ["generic"] * 6 + ["extra_retain"] * 10


def test_padding_with_what_is_forgotten_is_refused(tmp_path: Path, padding: str) -> None:
    forget = tmp_path / "forget.jsonl"
    forget.write_text('{"question": "add 4 and  1.", "answer": "5"}\n')
    data = DataConfig(source="files", forget=str(forget), extra_retain=padding)
    with pytest.raises(EffaceError, match=r"forget/0001 .* and extra_retain/0005 \(to keep\) are the same question"):
        load_task(data, data_dir=None)
    forget.write_text('{"question": "Add 4 and 1.", "answer": "I do not add."}\n')
    assert "1 question(s) stand in both the forget and the retain set" in load_task(data, data_dir=None).warnings[0]


def test_a_file_that_is_not_there_and_items_of_none(tmp_path: Path) -> None:
    with pytest.raises(EffaceError, match=r"data\.padding.*nowhere|nowhere.*"):
        padded(str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(ValueError, match="extra_retain_items means nothing without extra_retain: remove it"):
        DataConfig(**AUTHORS, extra_retain_items=3)
