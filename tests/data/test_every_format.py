"""Every format and every shape: rows of a shape, and how many items they make."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.data import DataConfig, load_task
from efface.schema import Task


def load_from(forget: Path) -> Task:
    return load_task(DataConfig(source="files", forget=forget), data_dir=None)


QUESTIONS: list[dict[str, Any]] = [
    {"question": "Who wrote it?", "answer": "Ann, or Bob", "key_fact": "Ann"},
    {"question": "When?", "answer": 'In "May"\nor June', "key_fact": None},
]
PROMPTS: list[dict[str, Any]] = [{"prompt": "Who wrote it?", "completion": " Ann did."}]
ALPACA: list[dict[str, Any]] = [{"instruction": "Translate.", "input": "Ann escribe.", "output": "Ann writes."}]
CHATS: list[dict[str, Any]] = [
    {
        "messages": [
            {"role": "user", "content": "Who wrote it?"},
            {"role": "assistant", "content": "Ann."},
            {"role": "user", "content": "When?"},
            {"role": "assistant", "content": "In May."},
        ]
    }
]
TEXTS: list[dict[str, Any]] = [
    {"text": "Ann Lee wrote poems about the sea."},
    {"text": "Bob, who did not, wrote prose."},
]
SHAPES = {
    "questions": (QUESTIONS, 2),
    "prompts": (PROMPTS, 1),
    "alpaca": (ALPACA, 1),
    "chats": (CHATS, 2),
    "texts": (TEXTS, 2),
}


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.with_suffix(".jsonl")


def write_json(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.with_suffix(".json").write_text(json.dumps({"data": rows}, indent=2))
    return path.with_suffix(".json")


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    return path.with_suffix(".csv")


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def write_dataset(path: Path, rows: list[dict[str, Any]]) -> Path:
    pytest.importorskip("datasets").Dataset.from_list(rows).save_to_disk(path)
    return path


def write_texts(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.mkdir()
    for number, row in enumerate(rows):
        (path / f"{number}.txt").write_text(row["text"])
    return path


NESTED = (write_json_lines, write_json, write_parquet, write_dataset)


@pytest.mark.parametrize(
    ("write", "shape"),
    [
        *((write, shape) for write in NESTED for shape in SHAPES),
        *((write_csv, shape) for shape in SHAPES if shape != "chats"),
        (write_texts, "texts"),
    ],
)
def test_every_format_and_shape(
    tmp_path: Path, write: Callable[[Path, list[dict[str, Any]]], Path], shape: str
) -> None:
    rows, count = SHAPES[shape]
    reference = load_from(write_json_lines(tmp_path / "reference", rows))
    assert len(reference.forget) == count
    task = load_from(write(tmp_path / "mine", rows))
    without_ids = {"id"}
    assert [item.model_dump(exclude=without_ids) for item in task.forget] == [
        item.model_dump(exclude=without_ids) for item in reference.forget
    ]
    assert len(task.evaluation[0].items) == count
    assert task.warnings == ()
