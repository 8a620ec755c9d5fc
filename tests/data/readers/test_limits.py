"""Small files that stand for more than the memory holds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from efface.data.file_settings import ReadLimits
from efface.data.readers.conversations import MAX_MESSAGES
from efface.data.readers.limits import Limits
from efface.errors import EffaceError
from support.messages import assert_names
from support.user_data import ASSISTANT, PAIR, USER, items_error, read, read_error, to_items, write

SMALL: dict[str, Any] = {"limits": {"max_mib": 2**-10}}
"""1 KiB."""


def test_sizes_up_to_the_limit_pass() -> None:
    limits = Limits(ReadLimits(max_mib=0.5, max_values=10), "data.retain")
    limits.check_size("a", 2**19)
    limits.check_values("a", 10)
    limits.check_text("a", b"a,b;c\td|e\n{[")
    for call in (lambda: limits.check_size("a", 2**19 + 1), lambda: limits.check_values("a", 11)):
        with pytest.raises(EffaceError) as caught:
            call()
        assert_names(str(caught.value), "a has", "data.retain.limits.max_")
    with pytest.raises(EffaceError) as caught:
        limits.check_text("a", b"," * 11)
    assert_names(str(caught.value), "11 values", "limit is 10", "data.retain.limits.max_values")


def test_limits_that_cannot_be_set() -> None:
    with pytest.raises(EffaceError) as caught:
        Limits().check_values("a", 10_000_001)
    assert_names(str(caught.value), "10,000,001 values", "restore it from a copy")


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt", "a.md", "a", "folder"])
@pytest.mark.parametrize("packed", [False, True])
def test_size(tmp_path: Path, name: str, packed: bool) -> None:
    content = b" " * 2000 + b"\n"
    file = tmp_path / (name if name != "folder" else "folder/a.txt")
    path = write(file.with_name(file.name + ".gz") if packed else file, gzip.compress(content) if packed else content)
    message = read_error(path.parent if name == "folder" else path, **SMALL)
    assert_names(message, str(path), "MiB", "data.forget.limits.max_mib")


def test_files_of_a_folder_count_together(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "folder" / f"{number}.txt", "x" * 400)
    assert_names(read_error(tmp_path / "folder", **SMALL), "folder has more than", "max_mib")
    assert len(read(tmp_path / "folder").rows) == 3


def test_a_bomb_is_unpacked_no_further_than_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "bomb.jsonl.gz", gzip.compress(bytes(2**24)))
    assert_names(read_error(path, limits={"max_mib": 1}), str(path), "1 MiB")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", "[" + "[]," * 50 + "[]]"),
        ("a.jsonl", (json.dumps(PAIR) + "\n") * 30),
        ("a.csv", "a,b\n" + "c,d\n" * 50),
    ],
)
def test_values(tmp_path: Path, name: str, content: str) -> None:
    message = read_error(write(tmp_path / name, content), limits={"max_values": 60})
    assert_names(message, str(tmp_path / name), "values", "limit is 60", "data.forget.limits.max_values")


def test_parquet_of_equal_values(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    indices = arrow.array([0] * 100_000, arrow.int32())
    column = arrow.DictionaryArray.from_arrays(indices, [("x" * 5000)])
    parquet.write_table(arrow.table({"question": column, "answer": column}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 100_000
    assert_names(read_error(tmp_path / "a.parquet", limits={"max_values": 1000}), "200,000 values", "max_values")
    assert_names(read_error(tmp_path / "a.parquet", limits={"max_mib": 20}), "20 MiB", "max_mib")


def test_parquet_date_that_python_does_not_have(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    years = arrow.array([2**31 - 1], arrow.int32()).cast(arrow.date32())
    parquet.write_table(arrow.table({"question": ["a"], "answer": ["b"], "d": years}), tmp_path / "a.parquet")
    assert_names(read_error(tmp_path / "a.parquet"), "a.parquet", "not a valid Parquet file")


def test_messages_of_a_conversation() -> None:
    longest = {"messages": [USER, ASSISTANT] * (MAX_MESSAGES // 2)}
    assert len(to_items(longest)) == MAX_MESSAGES // 2
    message = items_error({"messages": [*longest["messages"], USER]})
    assert_names(message, f"{MAX_MESSAGES + 1:,} messages", f"limit is {MAX_MESSAGES:,}", "split")


def test_many_columns_take_linear_time(tmp_path: Path) -> None:
    header = ",".join(f"c{number}" for number in range(50_000))
    table = read(write(tmp_path / "a.csv", f"{header}\n{header}\n"))
    assert len(table.rows[0].values) == 50_000
