from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from efface.errors import EffaceError
from efface.files import safe_read
from efface.files.safe_read import (
    MAX_JSON,
    expand_home,
    open_regular,
    parse_json,
    read_bytes,
    read_json,
    read_lines,
    read_text,
)
from support.messages import assert_names

READERS: list[Callable[[Path], Any]] = [
    open_regular,
    lambda path: read_bytes(path, 10, "shorten it"),
    lambda path: read_text(path, 10, "shorten it"),
    read_json,
    lambda path: list(read_lines(path)),
]


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe that nobody writes to: opening it in the ordinary way never returns."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize("read", READERS)
def test_only_regular_files_are_read(read: Callable[[Path], Any], pipe: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(pipe)
    for path in (pipe, tmp_path / "link", Path("/dev/zero")):
        with pytest.raises(EffaceError) as caught:
            read(path)
        assert_names(str(caught.value), str(path), "pipe or a device", "copy its content")


def test_a_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        with pytest.raises((EffaceError, OSError)):
            open_regular(tmp_path / "s")


@pytest.mark.parametrize("read", READERS)
def test_errors_of_the_system_stay_what_they_are(read: Callable[[Path], Any], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        read(tmp_path)


def test_no_descriptor_stays_open(pipe: Path, tmp_path: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("only Linux lists open files in /proc")
    before = len([*folder.iterdir()])
    for path in (pipe, tmp_path):
        with pytest.raises((EffaceError, OSError)):
            open_regular(path)
    assert len([*folder.iterdir()]) == before


def test_size_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    assert read_bytes(path, 10, "shorten it") == b"x" * 10
    path.write_bytes(b"x" * 11)
    with pytest.raises(EffaceError) as caught:
        read_bytes(path, 10, "shorten it")
    assert_names(str(caught.value), str(path), "MiB", "shorten it")


def test_json_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(MAX_JSON + 1)
    with pytest.raises(EffaceError) as caught:
        read_json(path)
    assert_names(str(caught.value), str(path), "32 MiB", "restore")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "[1", "", "\xff"])
def test_bad_json_is_a_value_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"."):
        read_json(tmp_path / "a.json")


def test_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, "ü"]}', encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"a": [1, "ü"]}


def test_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one\n\ntwo")
    assert list(read_lines(path)) == [b"one\n", b"\n", b"two"]
    monkeypatch.setattr(safe_read, "_MAX_LINE", 3)
    with pytest.raises(EffaceError) as caught:
        list(read_lines(path))
    assert_names(str(caught.value), str(path), "line")


def test_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert expand_home("~/a") == Path("/somewhere/a")
    assert expand_home("a/~") == Path("a/~")


@pytest.mark.parametrize("path", ["~nosuchuser/a", "a\0b", "a\ud800"])
def test_impossible_paths(path: str) -> None:
    with pytest.raises(EffaceError) as caught:
        expand_home(path)
    assert_names(str(caught.value), repr(path))


def test_impossible_path_of_a_file() -> None:
    with pytest.raises(EffaceError) as caught:
        open_regular(Path("a\0b"))
    assert_names(str(caught.value), r"a\x00b")
