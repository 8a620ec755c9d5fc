"""Files of a run are for their owner alone, unless private=false."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from efface.errors import EffaceError
from efface.files.atomic import atomic_folder, write_text
from efface.files.folder_lock import lock_folder
from efface.files.permissions import make_folder, readable, settle
from support.messages import assert_names


@pytest.fixture(autouse=True)
def usual_umask():
    earlier = os.umask(0o022)
    yield
    os.umask(earlier)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def write_all(root: Path) -> None:
    write_text(root / "records" / "a" / "x.jsonl", "text")
    with atomic_folder(root / "model") as partial:
        partial.mkdir()
        (partial / "part").mkdir()
        (partial / "part" / "weights").write_text("w")
        (partial / "part" / "weights").chmod(0o600)  # as safetensors does
        (partial / "config.json").write_text("c")


@pytest.mark.parametrize(("private", "file", "folder"), [(True, 0o600, 0o700), (False, 0o644, 0o755)])
def test_modes_of_all_that_is_written(tmp_path, private, file, folder):
    root = tmp_path / "runs" / "one"
    with lock_folder(root), readable(root, private=private):
        write_all(root)
    modes = {path.relative_to(root).as_posix(): mode(path) for path in (root, *root.rglob("*"))}
    files = ("records/a/x.jsonl", "model/part/weights", "model/config.json")
    assert modes == {
        **dict.fromkeys((".", "records", "records/a", "model", "model/part"), folder),
        **dict.fromkeys(files, file),
    }
    assert mode(root.parent) == 0o755  # is not the run's


def test_private_folders_are_made_private(tmp_path, monkeypatch):
    """Not opened and closed: another thread may look in between."""
    monkeypatch.setattr(Path, "chmod", None)
    root = tmp_path / "run"
    with readable(root, private=True):
        make_folder(root / "checkpoints" / ".step-1.partial")
    assert {mode(path) for path in (root, *root.rglob("*"))} == {0o700}


def test_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "x").write_text("text")
    with readable(tmp_path, private=True), pytest.raises(FileExistsError):
        make_folder(tmp_path / "x")


def test_a_private_folder_that_was_there_becomes_private_only_when_it_is_written(tmp_path):
    root = tmp_path / "run"
    root.mkdir()
    with readable(root, private=True):
        assert mode(root) == 0o755
        write_text(root / "x", "text")
    assert mode(root) == 0o700
    write_text(root / "y", "text")  # nobody writes a run
    assert mode(root / "y") == 0o644


def test_a_folder_within_decides_for_itself(tmp_path):
    outer, inner = tmp_path / "sweep", tmp_path / "sweep" / "runs" / "a"
    with readable(outer, private=True):
        with lock_folder(inner), readable(inner, private=False):
            write_text(inner / "x", "text")
        write_text(inner / "y", "text")
    assert (mode(inner / "x"), mode(inner / "y")) == (0o644, 0o600)
    assert mode(inner.parent) == mode(outer) == 0o700


def test_links_are_not_followed(tmp_path):
    root, other = tmp_path / "run", tmp_path / "other"
    other.write_text("not ours")
    with readable(root, private=True), atomic_folder(root / "model") as partial:
        partial.mkdir()
        (partial / "link").symlink_to(other)
    assert mode(other) == 0o644


def test_somebody_elses_folder_cannot_be_private(tmp_path, monkeypatch):
    def refused(*arguments):
        raise PermissionError

    tmp_path.chmod(0o755)
    monkeypatch.setattr(Path, "chmod", refused)
    with readable(tmp_path, private=True), pytest.raises(EffaceError) as raised:
        make_folder(tmp_path / "x")
    assert_names(str(raised.value), str(tmp_path), "private=false", "another folder")
    settle(tmp_path)  # outside of a run: nothing to change
