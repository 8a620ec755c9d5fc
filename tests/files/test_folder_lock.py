"""One process holds a folder; others are told which one; a dead one holds nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

import efface
from efface.errors import EffaceError
from efface.files.folder_lock import HOLDER, LOCK, check_writable, held, is_lock, lock_folder, lock_output
from support.messages import assert_names

HOLD = """
import sys
from pathlib import Path
from efface.files.folder_lock import lock_folder

with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def other_process_holding(folder):
    """Another process that holds the folder until the block ends."""
    environment = {**os.environ, "PYTHONPATH": str(Path(efface.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"held\n"
        yield process
    finally:
        process.communicate()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def lock(folder):
    with lock_folder(folder):
        pass


def test_a_folder_is_made_and_removed_again_if_nothing_was_written(tmp_path):
    with lock_folder(tmp_path / "a" / "b"):
        assert names(tmp_path / "a" / "b") == [LOCK, HOLDER]
        assert all(map(is_lock, (tmp_path / "a" / "b").iterdir()))
    assert names(tmp_path) == []
    with lock_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "config.yaml").write_text("")
    assert names(tmp_path / "a" / "b") == ["config.yaml"]


def test_a_folder_that_was_empty_stays(tmp_path):
    lock(tmp_path)
    assert tmp_path.is_dir()


def test_who_holds_it_is_named_and_a_dead_holder_is_replaced(tmp_path):
    folder = tmp_path / "run"
    with other_process_holding(folder) as process:
        since = json.loads((folder / HOLDER).read_text())["since"]
        with pytest.raises(EffaceError) as raised:
            lock(folder)
        assert_names(
            str(raised.value), str(folder), f"process {process.pid}", socket.gethostname(), since, "choose another"
        )
        assert (folder / HOLDER).is_file(), "the holder's files stay"
        process.send_signal(signal.SIGKILL)
    assert names(folder) == [LOCK, HOLDER]
    with lock_folder(folder):
        assert json.loads((folder / HOLDER).read_text())["process"] == os.getpid()
    assert not folder.exists() or names(folder) == []


@pytest.mark.parametrize("content", [None, "", "[]", '{"process": "x"}', "[" * 2000])
def test_a_holder_without_a_readable_name(tmp_path, content):
    with other_process_holding(tmp_path):
        (tmp_path / HOLDER).unlink()
        if content is not None:
            (tmp_path / HOLDER).write_text(content)
        with pytest.raises(EffaceError, match="is in use by another process"):
            lock(tmp_path)


def test_a_thread_may_lock_again_what_it_holds_and_no_other_thread_can(tmp_path):
    refused = []

    def lock_in_thread():
        try:
            lock(tmp_path)
        except EffaceError as error:
            refused.append(str(error))

    with lock_folder(tmp_path):
        mine = held(tmp_path)
        with lock_folder(tmp_path / "x" / ".."):
            assert held(tmp_path) is mine
        assert (tmp_path / LOCK).is_file(), "the inner block releases nothing"
        thread = threading.Thread(target=lock_in_thread)
        thread.start()
        thread.join()
    assert held(tmp_path) is None
    assert len(refused) == 1
    assert f"process {os.getpid()}" in refused[0]


def test_processes_of_one_launch_are_one_holder(tmp_path, monkeypatch):
    with other_process_holding(tmp_path):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", "1")
        with lock_folder(tmp_path):
            assert held(tmp_path) is not None
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(EffaceError, match="in use"):
            lock(tmp_path)


def test_the_lock_of_a_file_lies_beside_it(tmp_path):
    path = tmp_path / "deep" / "report.html"
    with lock_output(path):
        assert names(path.parent) == [".report.html.lock", ".report.html.lock.holder"]
        with lock_output(path.with_name("other.html")):
            pass
    assert names(tmp_path) == []


def test_a_file_and_a_folder_that_cannot_be_written_are_refused(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "below"):
        for check in (check_writable, lock):
            with pytest.raises(EffaceError) as raised:
                check(folder)
            assert_names(str(raised.value), f"--out {folder}", f"{file} is a file; give a folder")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(EffaceError) as raised:
        lock(tmp_path / "new")
    assert_names(str(raised.value), f"--out {tmp_path / 'new'}", f"{tmp_path} cannot be written", "choose another")
    assert names(tmp_path) == ["file"]


def test_a_full_disk_does_not_prevent_the_lock(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with lock_folder(tmp_path):
        assert held(tmp_path) is not None
