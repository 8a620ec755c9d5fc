from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from efface.data import load_task
from efface.data.config import DataConfig
from efface.errors import EffaceError
from efface.schema import Task
from support.messages import assert_names

SHOTS = [{"question": f"Add {n} and 1.", "answer": str(n + 1)} for n in range(2)]
FORGET = [
    {"question": "Who wrote it?", "answer": "A poet."},
    {"messages": [{"role": role, "content": text} for role, text in (("user", "Hi"), ("assistant", "Hello"))]},
]


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def load(folder: Path, shots: list[Any], forget: list[Any] | None = None) -> Task:
    paths = write(folder / "forget.jsonl", forget or FORGET[:1]), write(folder / "shots.jsonl", shots)
    return load_task(DataConfig(source="files", forget=paths[0], few_shot=paths[1]), data_dir=None)  # type: ignore[arg-type]


def test_examples_come_before_each_scored_question_alone(tmp_path: Path) -> None:
    task = load(tmp_path, SHOTS)
    assert [(turn.role, turn.content) for turn in task.evaluation[0].items[0].history] == [
        ("user", "Add 0 and 1."),
        ("assistant", "1"),
        ("user", "Add 1 and 1."),
        ("assistant", "2"),
    ]
    assert task.forget[0].history == ()
    assert len(task.sources) == 2


def test_after_a_system_prompt_and_before_earlier_turns(tmp_path: Path) -> None:
    roles = (("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Who?"), ("assistant", "She."))
    conversation = {"messages": [{"role": role, "content": text} for role, text in roles]}
    item = load(tmp_path, SHOTS[:1], [conversation]).evaluation[0].items[1]
    assert [turn.content for turn in item.history] == ["Be brief.", "Add 0 and 1.", "1", "Hi", "Hello"]


def test_passages_stay(tmp_path: Path) -> None:
    text = {"text": "The museum of Lisbon opened in 1900."}
    assert load(tmp_path, SHOTS, [text]).evaluation[0].items[0].history == ()


@pytest.mark.parametrize(
    ("shots", "named"),
    [
        ([*SHOTS, FORGET[0]], ["shots.jsonl", "few_shot/0003", "forget/0001", "remove it"]),
        ([{"text": "A text that is long enough."}], ["shots.jsonl", "data.few_shot", "questions"]),
    ],
)
def test_examples_that_cannot_be_used(tmp_path: Path, shots: list[Any], named: list[str]) -> None:
    with pytest.raises(EffaceError) as caught:
        load(tmp_path, shots)
    assert_names(str(caught.value), *named)
