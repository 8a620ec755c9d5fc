from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.data.file_settings import ColumnsConfig
from efface.data.readers.row_types import detect_schema, ignored_columns
from efface.schema import Item
from support.messages import assert_names
from support.user_data import read, read_error, write

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
ROW_TYPES = {
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


def items_of(path: Path) -> list[Item]:
    """The items of a file, without their ids, which depend on the format."""
    table = read(path)
    assert table.warnings == ()
    schema = detect_schema(table, ColumnsConfig(), "data.forget")
    assert ignored_columns(table, schema) == []
    items = [item for row in table.rows for item in schema.items(row, "id", 1000)]
    return [item.model_copy(update={"id": "id"}) for item in items]


@pytest.mark.parametrize(
    ("write_rows", "row_type"),
    [
        *((write_rows, row_type) for write_rows in NESTED for row_type in ROW_TYPES),
        *((write_csv, row_type) for row_type in ROW_TYPES if row_type != "chats"),
        (write_texts, "texts"),
    ],
)
def test_every_format_gives_the_same_items(
    tmp_path: Path, write_rows: Callable[[Path, list[dict[str, Any]]], Path], row_type: str
) -> None:
    rows, count = ROW_TYPES[row_type]
    expected = items_of(write_json_lines(tmp_path / "expected", rows))
    assert len(expected) == count
    assert items_of(write_rows(tmp_path / "mine", rows)) == expected


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_json_lines(tmp_path / "a", QUESTIONS)
    assert len(read("~/a.jsonl").rows) == 2


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("https://example.org/a.csv", ["https://example.org/a.csv is a URL", "download it first"]),
        ("https://huggingface.co/datasets/rajpurkar/squad", ["give hf:rajpurkar/squad"]),
        ("data/*.csv", ["there is no file data/*.csv", "give one file"]),
        ("rajpurkar/squad", ["there is no file rajpurkar/squad", "give hf:rajpurkar/squad"]),
        ("data/none.csv", ["there is no file data/none.csv", "check the path"]),
    ],
)
def test_errors_about_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, named: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert_names(read_error(path), *named)


@pytest.mark.parametrize("setting", ["subset", "split", "revision"])
def test_settings_of_another_type_of_source_are_refused(tmp_path: Path, setting: str) -> None:
    path = write(tmp_path / "a.csv", "question,answer\nWho?,Ann\n")
    assert_names(read_error(path, **{setting: "x"}), *[f"data.forget.{setting}=x", str(path), "remove it"])


@pytest.mark.parametrize(
    ("library", "make"),
    [
        ("pyarrow", lambda folder: write(folder / "a.parquet", b"PAR1")),
        ("datasets", lambda folder: write(folder / "saved" / "dataset_dict.json", "{}").parent),
    ],
)
def test_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, make: Callable[[Path], Path]
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    path = make(tmp_path)
    assert_names(read_error(path), *[str(path), f"package {library}", "[data]"])
