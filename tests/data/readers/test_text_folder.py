from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from efface.data.readers.text_folder import read_folder
from efface.errors import EffaceError
from support.messages import assert_names
from support.user_data import LIMITS, write


def folder_error(folder: Path) -> str:
    with pytest.raises(EffaceError) as caught:
        read_folder(folder, LIMITS)
    return str(caught.value)


def test_rows_are_the_texts_sorted_by_path(tmp_path: Path) -> None:
    for name in ("b.txt", "a.md", ".hidden.txt", "c.pdf", "inner/d.txt", "inner/x.rst", ".git/e.txt"):
        write(tmp_path / "docs" / name, f"This is {name}")
    write(tmp_path / "docs" / "c.txt.gz", gzip.compress(b"This is compressed"))
    table = read_folder(tmp_path / "docs", LIMITS)
    assert [row.values["text"] for row in table.rows] == [
        "This is a.md",
        "This is b.txt",
        "This is compressed",
        "This is inner/d.txt",
    ]
    assert [row.number for row in table.rows] == [1, 2, 3, 4]
    assert table.warnings == (f"{tmp_path}/docs: files not read (not .txt or .md): c.pdf, inner/x.rst",)


def test_the_hash_depends_on_contents_and_names(tmp_path: Path) -> None:
    write(tmp_path / "docs" / "b.txt", "Ann wrote.")
    before = read_folder(tmp_path / "docs", LIMITS).sha256
    assert read_folder(tmp_path / "docs", LIMITS).sha256 == before
    (tmp_path / "docs" / "b.txt").rename(tmp_path / "docs" / "a.txt")
    renamed = read_folder(tmp_path / "docs", LIMITS).sha256
    write(tmp_path / "docs" / "a.txt", "Ann sang.")
    assert len({before, renamed, read_folder(tmp_path / "docs", LIMITS).sha256}) == 3


def test_many_files_that_are_not_read_are_counted(tmp_path: Path) -> None:
    for name in ("a.txt", *(f"{number}.png" for number in range(7))):
        write(tmp_path / "docs" / name, "Ann wrote.")
    [warning] = read_folder(tmp_path / "docs", LIMITS).warnings
    assert warning.endswith(": 0.png, 1.png, 2.png, 3.png, 4.png, and 2 more")


def test_blank_texts_are_left_out(tmp_path: Path) -> None:
    for name, content in (("a.txt", " \n"), ("b.txt", "Ann wrote."), ("c/d.md", "")):
        write(tmp_path / "docs" / name, content)
    table = read_folder(tmp_path / "docs", LIMITS)
    assert [(row.number, row.values["text"]) for row in table.rows] == [(1, "Ann wrote.")]
    assert table.warnings == (f"{tmp_path}/docs: files not read (empty): a.txt, c/d.md",)


def test_a_text_that_looks_like_json_is_read_with_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "docs" / "a.txt", '{"question": "Who?", "answer": "Ann"}\n')
    table = read_folder(tmp_path / "docs", LIMITS)
    [row], [warning] = table.rows, table.warnings
    assert row.values["text"] == path.read_text()
    assert_names(warning, *[str(path), "looks like JSON", ".jsonl"])


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.rst", "x", ["contains no .txt or .md file and no saved dataset", "give a file inside it"]),
        ("a.txt", " \n", ["contains only empty texts", "fill them in"]),
    ],
)
def test_folders_without_a_text(tmp_path: Path, name: str, content: str, named: list[str]) -> None:
    write(tmp_path / "docs" / name, content)
    assert_names(folder_error(tmp_path / "docs"), *[f"{tmp_path}/docs", *named])


@pytest.mark.parametrize(
    "name", ["data/train.parquet", "x.jsonl", "x.ndjson", "x.json", "x.csv", "a/b/x.tsv", "x.JSONL.gz", "train/d.arrow"]
)
def test_a_dataset_is_not_read_as_its_readme(tmp_path: Path, name: str) -> None:
    write(tmp_path / "docs" / "README.md", "# A dataset\n\nPlease cite us.")
    write(tmp_path / "docs" / ".cache" / "y.csv", "question,answer\nWho?,Ann\n")
    assert len(read_folder(tmp_path / "docs", LIMITS).rows) == 1
    write(tmp_path / "docs" / name, "x")
    assert_names(folder_error(tmp_path / "docs"), *[f"{tmp_path}/docs", name, "give that file"])
