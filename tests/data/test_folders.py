"""Folders of texts, and what is left out of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from efface.data.config import FileConfig
from efface.data.readers.read import read_table
from efface.data.readers.table import Table
from efface.errors import EffaceError

ROWS = [{"question": "Who?", "answer": "Ann"}, {"question": "When?", "answer": "In May"}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def read(path: Path) -> Table:
    return read_table(FileConfig(path=str(path)), "data.forget")


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(EffaceError) as caught:
        read(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "ending"),
    [
        (LINES, ".jsonl"),
        (json.dumps(ROWS, indent=1), ".json"),
        ("[1] Ann Lee wrote it.\n[2] So did Bob.", None),
        ("[2020]\nA year.", None),
        ("{Ann} wrote it.", None),
        ("Ann wrote {}.", None),
    ],
)
@pytest.mark.parametrize("is_folder", [False, True])
def test_a_text_that_looks_like_json(tmp_path: Path, content: str, ending: str | None, is_folder: bool) -> None:
    path = written(tmp_path / "docs" / "a.txt", content)
    table = read(path.parent if is_folder else path)
    warning = f"{path} is read as a text, but looks like JSON; let it end in {ending} to read its rows"
    assert table.warnings == ((warning,) if ending else ())
    assert [row.values["text"] for row in table.rows] == [content]


def test_a_folder_is_its_texts_by_path(tmp_path: Path) -> None:
    for name in ("b.txt", "a.md", ".hidden.txt", "c.pdf", "inner/d.txt", "inner/x.rst", ".git/e.txt"):
        written(tmp_path / "docs" / name, f"This is {name}")
    written(tmp_path / "docs" / "c.txt.gz", gzip.compress(b"This is packed"))
    table = read(tmp_path / "docs")
    assert [row.values["text"] for row in table.rows] == [
        "This is a.md",
        "This is b.txt",
        "This is packed",
        "This is inner/d.txt",
    ]
    assert [row.number for row in table.rows] == [1, 2, 3, 4]
    assert table.warnings == (f"{tmp_path}/docs: not read, being no .txt or .md files: c.pdf, inner/x.rst",)
    before = table.sha256
    assert read(tmp_path / "docs").sha256 == before
    (tmp_path / "docs" / "b.txt").rename(tmp_path / "docs" / "a.txt")
    assert read(tmp_path / "docs").sha256 != before


def test_many_files_that_are_not_read_are_counted(tmp_path: Path) -> None:
    for name in ("a.txt", *(f"{number}.png" for number in range(7))):
        written(tmp_path / "docs" / name, "Ann wrote.")
    [warning] = read(tmp_path / "docs").warnings
    assert warning.endswith("files: 0.png, 1.png, 2.png, 3.png, 4.png, and 2 more")


def test_blank_texts_of_a_folder_are_left_out(tmp_path: Path) -> None:
    for name, content in (("a.txt", " \n"), ("b.txt", "Ann wrote."), ("c/d.md", "")):
        written(tmp_path / "docs" / name, content)
    table = read(tmp_path / "docs")
    assert [(row.number, row.values["text"]) for row in table.rows] == [(1, "Ann wrote.")]
    assert table.warnings == (f"{tmp_path}/docs: not read, being empty: a.txt, c/d.md",)
    (tmp_path / "docs" / "b.txt").unlink()
    assert refusal(tmp_path / "docs") == f"the folder {tmp_path}/docs holds empty texts alone; fill them in"


@pytest.mark.parametrize(
    "name", ["data/train.parquet", "x.jsonl", "x.ndjson", "x.json", "x.csv", "a/b/x.tsv", "x.JSONL.gz", "train/d.arrow"]
)
def test_a_folder_of_data_is_not_taken_for_its_readme(tmp_path: Path, name: str) -> None:
    written(tmp_path / "docs" / "README.md", "# A dataset\n\nPlease cite us.")
    written(tmp_path / "docs" / ".cache" / "y.csv", LINES)
    assert len(read(tmp_path / "docs").rows) == 1
    written(tmp_path / "docs" / name, "x")
    sentence = f"docs holds data, such as {name}; give that file, or the folder that save_to_disk wrote"
    assert sentence in refusal(tmp_path / "docs")
