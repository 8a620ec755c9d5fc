from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from efface.data.readers.file_formats import (
    TABLE_SUFFIXES,
    TEXT_SUFFIXES,
    decode_utf8,
    format_suffix,
    json_as_text_warnings,
    read_content,
    read_file,
)
from efface.errors import EffaceError
from support.messages import assert_names
from support.user_data import LIMITS, read_error, write

ROWS = [{"question": "Who?", "answer": "Zoë"}, {"question": "When?", "answer": 'In "May",\nor June'}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)
CSV = 'question,answer\nWho?,Zoë\nWhen?,"In ""May"",\nor June"\n'


@pytest.mark.parametrize(
    ("name", "content", "numbers"),
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
def test_text_formats_give_the_same_rows(tmp_path: Path, name: str, content: str, numbers: list[int]) -> None:
    plain = write(tmp_path / name, content)
    compressed = write(tmp_path / f"{name}.gz", gzip.compress(content.encode()))
    for path in (plain, compressed):
        table = read_file(path, LIMITS)
        assert [dict(row.values) for row in table.rows] == ROWS
        assert [row.number for row in table.rows] == numbers
        assert (table.name, table.sha256) == (str(path), hashlib.sha256(content.encode()).hexdigest())


@pytest.mark.parametrize("name", ["a.parquet", "part-0"])
def test_parquet_gives_python_objects(tmp_path: Path, name: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"question": "Who?", "messages": [{"role": "user", "content": "Hi"}], "n": 3}, {"question": None}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / name)
    table = read_file(tmp_path / name, LIMITS)
    assert [dict(row.values) for row in table.rows] == [rows[0], {"question": None, "messages": None, "n": None}]
    assert table.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    [row] = read_file(write(tmp_path / "a.md", "\ufeff# Ann\n\nShe wrote.\n"), LIMITS).rows
    assert dict(row.values) == {"text": "# Ann\n\nShe wrote.\n"}


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (LINES, ".jsonl"),
        (json.dumps(ROWS, indent=1), ".json"),
        ("[1] Ann Lee wrote it.\n[2] So did Bob.", None),
        ("[2020]\nA year.", None),
        ("{Ann} wrote it.", None),
        ("Ann wrote {}.", None),
    ],
)
def test_warning_about_a_text_file_that_contains_json(tmp_path: Path, content: str, suffix: str | None) -> None:
    path = write(tmp_path / "a.txt", content)
    table = read_file(path, LIMITS)
    assert [row.values["text"] for row in table.rows] == [content]
    assert list(table.warnings) == json_as_text_warnings(path, content)
    assert len(table.warnings) == (suffix is not None)
    if suffix:
        assert_names(table.warnings[0], *[str(path), "looks like JSON", f"suffix to {suffix} to read its rows"])


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.jsonl", b'\n{"answer": "Zo\xeb"}', ["a.jsonl, line 2", "UTF-8"]),
        ("a.csv", b"a\nZo\xeb", ["a.csv, line 2", "UTF-8"]),
        ("a.txt", b" \n", ["a.txt is empty", "fill it in"]),
        ("a.parquet", b"PAR1", ["a.parquet", "not a valid Parquet file (", "write or download it again"]),
        ("a.jsonl.gz", b"{}", ["a.jsonl.gz", "Not a gzipped file", "compress it again with gzip"]),
        ("a.txt.gz", gzip.compress(b"Ann wrote poems." * 9, mtime=0)[:-9], ["a.txt.gz", "compress it again with gzip"]),
        ("a.xlsx", b"x", ["a.xlsx is a spreadsheet", "CSV"]),
        ("a.csv", b"PK\x03\x04xl/workbook.xml", ["a.csv is a spreadsheet", "CSV"]),
        ("a", b"PK\x03\x04x", ["a is an archive", "unpack it"]),
        ("a.dat", b"x", ["a.dat", "format", "change its suffix to one of .jsonl, .ndjson, .json, .csv"]),
    ],
)
def test_errors_about_a_file(tmp_path: Path, name: str, content: bytes, named: list[str]) -> None:
    assert_names(read_error(write(tmp_path / name, content)), *named)


def test_errors_about_a_path(tmp_path: Path) -> None:
    file = write(tmp_path / "docs" / "a.csv", CSV)
    for path, named in [
        (tmp_path / "none.csv", [f"no file {tmp_path}/none.csv", "check the path"]),
        (tmp_path / "docs", [f"{tmp_path}/docs is a folder", "file inside it"]),
        (file / "b.csv", [f"cannot read {file}/b.csv", "check the path"]),
    ]:
        with pytest.raises(EffaceError) as caught:
            read_content(path, LIMITS)
        assert_names(str(caught.value), *named)


def test_suffixes() -> None:
    names = {"a.CSV": ".csv", "a.txt.gz": ".txt", "a.JSONL.GZ": ".jsonl", "a": "", "a.gz": "", "x/b.tar.md": ".md"}
    assert {name: format_suffix(Path(name)) for name in names} == names
    assert set(TABLE_SUFFIXES) == {".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"}
    assert set(TEXT_SUFFIXES) == {".txt", ".md"}


def test_decoding_drops_a_byte_order_mark() -> None:
    assert decode_utf8(Path("a"), "\ufeffZoë".encode()) == "Zoë"
