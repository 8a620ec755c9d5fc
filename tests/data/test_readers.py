"""Every format that data comes in, and what is said about files that cannot be read."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.data.config import FileConfig
from efface.data.readers.read import read_table
from efface.data.readers.table import Table
from efface.errors import EffaceError

ROWS = [{"question": "Who?", "answer": "Zoë"}, {"question": "When?", "answer": 'In "May",\nor June'}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = 'question,answer\nWho?,Zoë\nWhen?,"In ""May"",\nor June"\n'


def read(path: Path, **settings: Any) -> Table:
    return read_table(FileConfig(path=str(path), **settings), "data.forget")


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path, **settings: Any) -> str:
    with pytest.raises(EffaceError) as caught:
        read(path, **settings)
    return str(caught.value)


# Formats


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("a.jsonl", LINES, [1, 2]),
        ("a.ndjson", "\n" + LINES, [2, 3]),
        ("a.json", LINES, [1, 2]),
        ("a.json", json.dumps(ROWS), [1, 2]),
        ("a.json", json.dumps({"version": "1.1", "tags": ["x"], "data": ROWS}, indent=1), [1, 2]),
        ("a", json.dumps(ROWS, indent=1), [1, 2]),
        ("a.dump", LINES, [1, 2]),
        ("A.CSV", CSV, [2, 3]),
        ("a.csv", "\ufeff" + CSV.replace("\n", "\r\n").replace(",\r\nor", ",\nor"), [2, 3]),
        ("a.csv", 'question;answer\n\nWho?;Zoë\nWhen?;"In ""May"",\nor June"', [3, 4]),
        ("a.csv", 'question|answer\nWho?|Zoë\nWhen?|"In ""May"",\nor June"', [2, 3]),
        ("a.csv", '"question";"answer"\nWho?;Zoë\n"When?";"In ""May"",\nor June"', [2, 3]),
        ("a.csv", '\ufeffsep=;\r\nquestion;answer\r\nWho?;Zoë\r\nWhen?;"In ""May"",\nor June"', [3, 4]),
        ("a.csv", 'sep=^\nquestion^answer\nWho?^Zoë\nWhen?^"In ""May"",\nor June"', [3, 4]),
        ("a.tsv", 'question\tanswer\nWho?\tZoë\nWhen?\t"In ""May"",\nor June"', [2, 3]),
    ],
)
def test_text_formats_give_the_same_rows(tmp_path: Path, name: str, content: str, places: list[int]) -> None:
    plain = written(tmp_path / name, content)
    packed = written(tmp_path / f"{name}.gz", gzip.compress(content.encode()))
    for path in (plain, packed):
        table = read(path)
        assert [dict(row.values) for row in table.rows] == ROWS
        assert [row.number for row in table.rows] == places
        assert (table.name, table.sha256) == (str(path), hashlib.sha256(content.encode()).hexdigest())


def test_json_by_column_is_rows(tmp_path: Path) -> None:
    columns = {"question": ["Who?", "When?"], "answer": ["Zoë", 'In "May",\nor June'], "n": [None, 3]}
    rows = read(written(tmp_path / "a.json", json.dumps(columns, indent=1))).rows
    assert [dict(row.values) for row in rows] == [{**ROWS[0], "n": None}, {**ROWS[1], "n": 3}]
    lone = {"messages": [{"role": "user", "content": "Who?"}], "tags": ["x"]}
    [row] = read(written(tmp_path / "b.json", json.dumps(lone, indent=1))).rows
    assert dict(row.values) == lone


def test_a_bar_is_no_delimiter_beside_another(tmp_path: Path) -> None:
    [row] = read(written(tmp_path / "a.csv", "question,answer|b|c\nWho?,Ann|x\n")).rows
    assert dict(row.values) == {"question": "Who?", "answer|b|c": "Ann|x"}


@pytest.mark.parametrize(
    "content",
    ['question,"answer; short; long; more"\nWho?,Ann\n', 'question,"answer\tshort\tlong"\n"Who; or when?",Ann\n'],
)
def test_a_delimiter_cuts_header_and_row_alike(tmp_path: Path, content: str) -> None:
    [row] = read(written(tmp_path / "a.csv", content)).rows
    assert next(iter(row.values)) == "question"
    assert list(row.values.values())[1] == "Ann"


@pytest.mark.parametrize("column", ["messages", "Messages", "conversations"])
def test_a_lone_conversation_is_a_row_and_no_list_of_rows(tmp_path: Path, column: str) -> None:
    chat = {column: [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ann"}]}
    [row] = read(written(tmp_path / "a.json", json.dumps(chat, indent=1))).rows
    assert dict(row.values) == chat


@pytest.mark.parametrize("name", ["a.parquet", "part-0"])
def test_parquet_gives_python_objects(tmp_path: Path, name: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"question": "Who?", "messages": [{"role": "user", "content": "Hi"}], "n": 3}, {"question": None}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / name)
    table = read(tmp_path / name)
    assert [dict(row.values) for row in table.rows] == [rows[0], {"question": None, "messages": None, "n": None}]
    assert table.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


def test_csv_fields_are_text_and_empty_ones_null(tmp_path: Path) -> None:
    [row] = read(written(tmp_path / "a.csv", " question,answer,key_fact,\n Who? ,1949,,0\n")).rows
    assert dict(row.values) == {"question": " Who? ", "answer": "1949", "key_fact": None, "column 4": "0"}


def test_a_csv_of_one_column_needs_no_quotes(tmp_path: Path) -> None:
    content = 'text\nAnn, who wrote; and sang\n"Bob, too,\nor ""Rob"""\n'
    rows = read(written(tmp_path / "a.csv", content)).rows
    assert [row.values["text"] for row in rows] == ["Ann, who wrote; and sang", 'Bob, too,\nor "Rob"']


def test_a_csv_field_may_be_long(tmp_path: Path) -> None:
    import csv

    limit = csv.field_size_limit()
    [row] = read(written(tmp_path / "a.csv", f"text\n{'x' * (limit + 1)}\n")).rows
    assert len(row.text("text")) == limit + 1
    assert csv.field_size_limit() == limit


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    [row] = read(written(tmp_path / "a.md", "\ufeff# Ann\n\nShe wrote.\n")).rows
    assert dict(row.values) == {"text": "# Ann\n\nShe wrote.\n"}


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path / "a.jsonl", LINES)
    assert len(read_table(FileConfig(path="~/a.jsonl"), "data.forget").rows) == 2


# What cannot be read


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.jsonl", b"", "a.jsonl is empty; write one JSON object with a question and an answer per line"),
        ("a.jsonl", b"\n \n", "a.jsonl is empty"),
        ("a.jsonl", b'{"question": "Who?"}\n{"question": ', "a.jsonl, line 2: not valid JSON (Expecting value)"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl, line 1: not valid JSON"),
        ("a.jsonl", b"[]", "a.jsonl, line 1: a list, not a JSON object; write one object per line"),
        ("a.jsonl", b'"question"', "a.jsonl, line 1: text, not a JSON object"),
        ("a.jsonl", b'\n{"answer": "Zo\xeb"}', "a.jsonl, line 2: not UTF-8 text; save the file as UTF-8"),
        ("a.json", b"", "a.json is empty; write one JSON object"),
        ("a.json", b"[]", "a.json is empty; write a list of objects"),
        ("a.json", b"[" * 100_000, "a.json: not valid JSON (it cannot be parsed); write a list of objects"),
        ("a.json", b'[\n{"a": 1},\n{"a" 2}]', "a.json, line 3: not valid JSON (Expecting ':' delimiter)"),
        ("a.json", b'{"a": 1}\n{"a" 2}', "a.json, line 2: not valid JSON (Expecting ':' delimiter); write one JSON"),
        ("a.json", b'[{"a": 1}, "b"]', "a.json, row 2: text, not a JSON object; write a list of objects"),
        ("a.json", b"7", "a.json holds a number and no rows; write a list of objects"),
        ("a.json", b'{"x": [{}], "y": [{}]}', "a.json holds several lists of rows (x, y); write each to a file"),
        ("a.csv", b"", "a.csv is empty; write a line of column names such as question,answer and rows below it"),
        ("a.csv", b"question,answer\n\n", "a.csv has column names (question, answer) and no rows; write them below"),
        ("a.csv", b"a,b\n1,2,3\n1,2\n1\n1,2,3\n", "or a line break in double quotes (2 more rows have a problem)"),
        ("a.csv", b"question,answer\nWho?,Ann, Lee", "a.csv, line 2: 3 field(s) where the header has 2; put every"),
        ("a.csv", b'question,answer\nWho?,"Ann\n\n', "a.csv, line 2: not valid CSV (unexpected end of data); close"),
        ("a.csv", b'question,answer\n"Who"?,Ann', "a.csv, line 2: not valid CSV (',' expected after '\"'); close"),
        ("a.csv", b"\na,a\n1,2", "a.csv, line 2: two columns are called 'a'; rename one of them"),
        ("a.csv", b"a\nZo\xeb", "a.csv, line 2: not UTF-8 text"),
        ("a.txt", b" \n", "a.txt is empty; fill it in or remove it"),
        ("a.parquet", b"PAR1", "a.parquet is not a Parquet file that can be read ("),
        ("a.jsonl.gz", b"{}", "a.jsonl.gz cannot be unpacked (Not a gzipped file (b'{}')); pack it again with gzip"),
        ("a.jsonl", b'{"a": 1}\n{"a"}\n7\n', "line 2: not valid JSON (Expecting ':' delimiter); write one JSON object"),
        ("a.jsonl", b'{"a": 1}\n{"a"}\n7\n', "per line (1 more row has a problem)"),
        ("a.json", b'{"q": ["x", "y"], "a": ["z"]}', "its columns hold lists of different lengths (q 2, a 1); make"),
        ("a.json", b'{"a": [], "b": []}', "a.json is empty; write a list of objects"),
        ("a.xlsx", b"x", "a.xlsx is a sheet of a spreadsheet program; save the sheet as CSV (UTF-8)"),
        ("a.csv", b"PK\x03\x04xl/workbook.xml", "a.csv is a sheet of a spreadsheet program; save the sheet as CSV"),
        ("a.zip", b"x", "a.zip is an archive; unpack it, and give a file inside it"),
        ("a", b"PK\x03\x04x", "a is an archive; unpack it"),
        ("a.pkl", b"x", "a.pkl is written by Python, and may run code when it is read; save its rows as .jsonl"),
        ("a.yaml", b"- a: 1", "a.yaml is YAML; save its rows as .json or .jsonl"),
        ("a.pdf", b"%PDF", "a.pdf is a document with a layout; save its text as .txt (UTF-8)"),
        ("a.dat", b"x", "neither the name nor the content of"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    assert sentence in refusal(written(tmp_path / name, content))


def test_a_truncated_packed_file(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt.gz", gzip.compress(b"Ann wrote poems." * 9)[:-9])
    assert "a.txt.gz cannot be unpacked" in refusal(path)


def test_an_empty_parquet_file(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.table({"a": []}), tmp_path / "a.parquet")
    assert "a.parquet is empty; give one that has rows" in refusal(tmp_path / "a.parquet")


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.csv") == f"there is no file {tmp_path}/none.csv; check the path"
    written(tmp_path / "docs" / "a.rst", CSV)
    sentence = f"the folder {tmp_path}/docs holds no .txt or .md file and no saved dataset; give a file inside it"
    assert refusal(tmp_path / "docs") == sentence
    assert "cannot read" in refusal(tmp_path / "docs" / "a.rst" / "b.csv")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (
            "https://example.org/a.csv",
            "https://example.org/a.csv is a web address; download it first, or give hf:OWNER",
        ),
        ("https://huggingface.co/datasets/rajpurkar/squad", "for this dataset of the hub, give hf:rajpurkar/squad"),
        ("hf://datasets/rajpurkar/squad/x.parquet", "for this dataset of the hub, give hf:rajpurkar/squad"),
        ("data/*.csv", "there is no file data/*.csv; patterns are not filled in: give one file, or a folder of texts"),
        (
            "rajpurkar/squad",
            "there is no file rajpurkar/squad; check the path, or give hf:rajpurkar/squad for the data",
        ),
        ("owner/name-1.1", "or give hf:owner/name-1.1 for the dataset of the hub"),
        ("data/none.csv", "there is no file data/none.csv; check the path"),
    ],
)
def test_paths_that_are_meant_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EffaceError) as caught:
        read_table(FileConfig(path=path), "data.forget")
    assert sentence in str(caught.value)
    assert ("hf:" in sentence) == ("hf:" in str(caught.value))


@pytest.mark.parametrize("setting", ["subset", "split", "revision"])
def test_settings_of_other_sources_are_refused(tmp_path: Path, setting: str) -> None:
    path = written(tmp_path / "a.csv", CSV)
    assert f"data.forget.{setting}=x means nothing for {path}, which has no {setting}s: remove it" in refusal(
        path, **{setting: "x"}
    )


@pytest.mark.parametrize(
    ("library", "make"),
    [
        ("pyarrow", lambda folder: written(folder / "a.parquet", b"PAR1")),
        ("datasets", lambda folder: written(folder / "saved" / "dataset_dict.json", "{}").parent),
    ],
)
def test_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, make: Callable[[Path], Path]
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    path = make(tmp_path)
    assert refusal(path) == f"{path} is read with {library}, which is missing: pip install 'efface[data]'"
