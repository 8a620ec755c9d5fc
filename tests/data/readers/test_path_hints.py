from __future__ import annotations

from pathlib import Path

import pytest

from efface.data.readers.path_hints import missing_path_hint, unsupported_format, url_problem


@pytest.mark.parametrize(
    ("suffix", "content", "named"),
    [
        (".xlsx", b"x", ["spreadsheet", "CSV"]),
        (".csv", b"PK\x03\x04xl/workbook.xml", ["spreadsheet", "CSV"]),
        (".zip", b"x", ["archive", "unpack it"]),
        ("", b"PK\x03\x04x", ["archive", "unpack it"]),
        (".pkl", b"x", ["pickle", "may run code", ".jsonl or .parquet"]),
        (".yaml", b"- a: 1", ["YAML", ".json or .jsonl"]),
        (".pdf", b"%PDF", ["formatted document", ".txt"]),
    ],
)
def test_formats_that_must_be_converted(suffix: str, content: bytes, named: list[str]) -> None:
    problem = unsupported_format(suffix, content)
    assert problem is not None
    assert all(part in problem for part in named)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".txt", ""])
def test_formats_that_are_read(suffix: str) -> None:
    assert unsupported_format(suffix, b"text") is None


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("https://example.org/a.csv", "download it first, or give hf:OWNER/NAME"),
        ("https://huggingface.co/datasets/rajpurkar/squad", "give hf:rajpurkar/squad"),
        ("hf://datasets/rajpurkar/squad/x.parquet", "give hf:rajpurkar/squad"),
    ],
)
def test_urls(path: str, remedy: str) -> None:
    problem = url_problem(path)
    assert problem is not None
    assert problem.startswith(f"{path} is a URL; ")
    assert remedy in problem


@pytest.mark.parametrize("path", ["a.csv", "hf:owner/name", "data/a.csv"])
def test_paths_that_are_no_urls(path: str) -> None:
    assert url_problem(path) is None


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("data/*.csv", "patterns are not expanded: give one file, or a folder of texts"),
        ("rajpurkar/squad", "check the path, or give hf:rajpurkar/squad for the dataset of the hub"),
        ("owner/name-1.1", "check the path, or give hf:owner/name-1.1 for the dataset of the hub"),
        ("data/none.csv", "check the path"),
        ("none.csv", "check the path"),
    ],
)
def test_hints_about_missing_paths(path: str, hint: str) -> None:
    assert missing_path_hint(Path(path)) == hint
