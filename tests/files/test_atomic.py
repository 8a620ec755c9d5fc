"""Files and folders appear complete or not at all."""

from __future__ import annotations

import errno
import json
import os

import pytest
from safetensors import SafetensorError

from efface import distributed
from efface.errors import EffaceError
from efface.files.atomic import atomic_file, atomic_folder, write_json, write_text
from support.messages import assert_names


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fail_half_way(folder, error):
    with atomic_folder(folder) as partial:
        partial.mkdir()
        (partial / "half").write_text("half")
        raise error


def write_half(path):
    with atomic_file(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt


# Files


def test_a_file_is_replaced_only_when_complete(tmp_path):
    path = tmp_path / "deep" / "scores.json"
    write_json(path, {"name": "é"})
    assert path.read_text(encoding="utf-8") == '{\n  "name": "é"\n}\n'
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert json.loads(path.read_text()) == {"name": "é"}
    assert names(path.parent) == ["scores.json"]


def test_nan_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "scores.json", {"rouge": float("nan")})
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EFBIG, "free some space"),
        (errno.EACCES, "change its permissions"),
        (errno.EROFS, "change its permissions"),
        (errno.EISDIR, "is a folder; choose another path"),
    ],
)
def test_an_error_of_writing_has_a_remedy(tmp_path, number, remedy):
    def write():
        with atomic_file(tmp_path / "new"):
            raise OSError(number, os.strerror(number))

    with pytest.raises(EffaceError) as raised:
        write()
    assert_names(str(raised.value), str(tmp_path / "new"), os.strerror(number), remedy)


def test_a_path_below_a_file_needs_no_free_space(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for path in (file / "new", file / "deep" / "new"):
        with pytest.raises(EffaceError) as raised:
            write_text(path, "text")
        assert_names(str(raised.value), f"cannot write {path}", f"{file} is a file; choose another path")
        with pytest.raises(EffaceError) as raised, atomic_folder(path):
            pass
        assert_names(str(raised.value), f"cannot write {path}", f"{file} is a file; choose another path")


def test_only_the_main_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "_group", distributed._Group(1, 2))
    monkeypatch.setattr(distributed, "all_gather", lambda value: [value, value])
    write_text(tmp_path / "new", "text")
    assert names(tmp_path) == []


# Folders


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
        Exception("No space left on device (os error 28)"),  # tokenizers
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 128 vs 22\nframe #0: c10::Throw"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_full_disk_whichever_library_notices(tmp_path, error):
    with pytest.raises(EffaceError) as raised:
        fail_half_way(tmp_path / "deep" / "new", error)
    assert str(error).splitlines()[0] in str(raised.value)
    assert "\n" not in str(raised.value)
    assert names(tmp_path / "deep") == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EffaceError, match=r"cannot write .*file/new"), atomic_folder(tmp_path / "file" / "new"):
        pass


@pytest.mark.parametrize("error", [KeyboardInterrupt(), distributed.DistributedError("lost")])
def test_an_interrupt_or_a_lost_process_passes_and_nothing_incomplete_stays(tmp_path, error):
    with pytest.raises(type(error)) as raised:
        fail_half_way(tmp_path / "new", error)
    assert raised.value is error
    assert names(tmp_path) == []


def test_a_folder_replaces_an_older_one(tmp_path):
    """A kill between two folders of one save leaves the first, which is then written again."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "old").write_text("")
    with atomic_folder(tmp_path / "adapter") as partial:
        partial.mkdir()
        (partial / "new").write_text("")
    assert names(tmp_path) == ["adapter"]
    assert names(tmp_path / "adapter") == ["new"]
