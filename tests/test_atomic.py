"""Files and folders appear complete or not at all."""

from __future__ import annotations

import json

import pytest
from safetensors import SafetensorError

from efface import distributed
from efface.atomic import atomic_file, atomic_folder, write_json, write_text
from efface.errors import EffaceError


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


def test_a_file_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EffaceError, match=r"cannot write .*file/new: .*; free some space or choose another --out"):
        write_text(tmp_path / "file" / "new", "text")


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
