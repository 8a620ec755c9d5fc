"""Checkpoints are written while training goes on, one at a time, and only where they fit."""

from __future__ import annotations

import json
from contextlib import contextmanager
from threading import Event

import pytest
import torch

from efface import distributed
from efface.distributed import DistributedError
from efface.errors import EffaceError
from efface.files.atomic import record_in
from efface.files.permissions import readable
from efface.files.sums import checkpoint_problem, folder_sums
from efface.train.checkpoints import checkpoint, checkpoint_writer
from efface.train.checkpoints.checkpoint import TrainerState
from efface.train.checkpoints.checkpoint_files import CheckpointFile, StoredTensors
from efface.train.checkpoints.checkpoint_writer import CheckpointWriter
from support.messages import assert_names

FILE = "trained.safetensors"


def files(value=1.0):
    return [CheckpointFile(FILE, {"weight": torch.full((4, 4), value)})]


def state(step):
    return TrainerState(step=step, token_budget={"tokens": 1})


def stored(folder):
    found = checkpoint.latest(folder)
    return None if found is None else float(StoredTensors([found[1] / FILE]).read("weight")[0, 0])


@pytest.fixture
def slow(monkeypatch):
    """Writing waits for this event."""
    released, write = Event(), CheckpointFile.write
    monkeypatch.setattr(CheckpointFile, "write", lambda self, folder: released.wait(60) and write(self, folder))
    return released


def test_training_goes_on_with_other_values(tmp_path, slow):
    writer, saved = CheckpointWriter(tmp_path, sharded=False), files()
    writer.start(saved, state(1))
    saved[0].tensors["weight"].zero_()
    assert checkpoint.latest(tmp_path) is None
    slow.set()
    writer.wait()
    assert stored(tmp_path) == 1


def test_the_one_before_is_complete_before_the_next_begins(tmp_path, slow):
    writer = CheckpointWriter(tmp_path, sharded=False)
    writer.start(files(1.0), state(1))
    slow.set()
    writer.start(files(2.0), state(2))
    assert checkpoint.latest(tmp_path) is not None
    writer.wait()
    assert stored(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["step-000002"]


def test_without_memory_for_copies_training_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_writer, "free_memory", lambda device: 2 * 64 - 1)
    monkeypatch.setattr(CheckpointFile, "on_cpu", lambda self: pytest.fail("copied"))
    CheckpointWriter(tmp_path, sharded=False).start(files(), state(1))
    assert stored(tmp_path) == 1


@pytest.mark.parametrize(("processes", "free"), [(1, 63), (2, 127)])
def test_the_space_is_checked_first(tmp_path, monkeypatch, processes, free):
    sharded = processes > 1
    monkeypatch.setattr(distributed, "world_size", lambda: processes)
    monkeypatch.setattr(checkpoint_writer, "disk_free", lambda folder: free)
    with pytest.raises(EffaceError) as raised:
        CheckpointWriter(tmp_path, sharded=sharded).start(files(), state(3))
    assert_names(str(raised.value), str(tmp_path / "step-000003"), "GiB", "--out", "train.save_minutes")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_thread_is_raised_in_training(tmp_path, monkeypatch):
    def fails(self, folder):
        raise OSError("No space left on device")

    monkeypatch.setattr(CheckpointFile, "write", fails)
    writer = CheckpointWriter(tmp_path, sharded=False)
    writer.check()
    writer.start(files(), state(3))
    with pytest.raises(EffaceError, match="No space left on device"):
        writer.wait()
    assert list(tmp_path.iterdir()) == []
    writer.check()


@pytest.mark.parametrize("sharded", [False, True])
def test_the_manifest_hears_of_a_complete_checkpoint(tmp_path, sharded):
    """Otherwise `--resume` would refuse it as one that the run did not write."""
    heard = []

    @contextmanager
    def recorder(path, complete):
        heard.append((path, checkpoint_problem(complete), (complete / "SHA256SUMS").is_file(), path.exists()))
        yield

    record_in(tmp_path, recorder)
    try:
        writer = CheckpointWriter(tmp_path, sharded=sharded)
        writer.start(files(), state(1))
        writer.wait()
    finally:
        record_in(tmp_path, None)
    assert heard == [(tmp_path / "step-000001", None, True, False)]


@pytest.mark.parametrize("sharded", [False, True])
def test_a_private_runs_checkpoint_is_for_its_owner_alone(tmp_path, sharded):
    folder = tmp_path / "checkpoints"
    with readable(tmp_path, private=True):
        writer = CheckpointWriter(folder, sharded=sharded)
        writer.start(files(), state(1))
        writer.wait()
    modes = {path.stat().st_mode & 0o777 for path in (folder / "step-000001").iterdir()}
    assert (modes, {path.stat().st_mode & 0o777 for path in (folder, folder / "step-000001")}) == ({0o600}, {0o700})


def other_is_done(folder, name):
    """Process 1 has written a file of step 1, and its sum."""
    partial = folder / ".step-000001.partial"
    (partial / name).write_bytes(b"rows")
    (partial / "done-1").write_text(json.dumps(folder_sums(partial, [partial / name])))


def test_the_main_process_waits_for_the_shards_of_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "barrier", lambda: None)
    writer = CheckpointWriter(tmp_path, sharded=True)
    writer.start(files(), state(1))
    assert checkpoint.latest(tmp_path) is None
    other_is_done(tmp_path, "other.safetensors")
    writer.wait()
    files_in_it = sorted(path.name for path in (tmp_path / "step-000001").iterdir())
    assert files_in_it == ["SHA256SUMS", "other.safetensors", FILE, "trainer_state.json"]
    assert checkpoint_problem(tmp_path / "step-000001") is None


def test_the_thread_waits_for_the_others_also_while_the_main_process_counts_as_the_only_one(
    tmp_path, monkeypatch, slow
):
    monkeypatch.setattr(distributed, "_group", distributed._Group(rank=0, world_size=2))
    monkeypatch.setattr(distributed, "all_gather", lambda value: [value])
    writer = CheckpointWriter(tmp_path, sharded=True)
    writer.start(files(), state(1))
    with distributed.as_only_process():
        slow.set()
        writer._thread.join(0.3)
    assert checkpoint.latest(tmp_path) is None
    other_is_done(tmp_path, "other.safetensors")
    writer.wait()
    assert checkpoint.latest(tmp_path) == (1, tmp_path / "step-000001")


def test_processes_of_one_machine_share_its_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "_group", distributed._Group(rank=1, world_size=2))
    monkeypatch.setattr(distributed, "all_gather", lambda value: [value])
    monkeypatch.setattr(checkpoint_writer, "free_memory", lambda device: 4 * 64 - 1)
    (tmp_path / ".step-000001.partial").mkdir()
    monkeypatch.setattr(CheckpointFile, "on_cpu", lambda self: pytest.fail("copied"))
    CheckpointWriter(tmp_path, sharded=True).start(files(), state(1))


def test_copies_are_not_copied_again(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_writer, "free_memory", lambda device: 0)
    weight = torch.ones(2)
    copied = CheckpointFile(FILE, {"weight": weight}).on_cpu()
    assert copied.tensors["weight"] is not weight
    assert copied.on_cpu() is copied
    assert CheckpointWriter(tmp_path, sharded=False)._copies_fit([copied])


def test_it_does_not_wait_for_a_process_that_could_not_write(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "barrier", lambda: None)
    writer = CheckpointWriter(tmp_path, sharded=True)
    writer.start(files(), state(1))
    monkeypatch.setattr(distributed, "all_gather", lambda failed: [failed, True])
    with pytest.raises(DistributedError) as raised:
        writer.wait()
    assert_names(str(raised.value), "process 0 of 2", "checkpoint", "--resume")
    assert checkpoint.latest(tmp_path) is None


def test_it_does_not_wait_for_a_process_that_died(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "barrier", lambda: None)
    monkeypatch.setattr(checkpoint_writer, "_SECONDS_FOR_OTHERS", 0.01)
    (tmp_path / "step-000001").mkdir()
    writer = CheckpointWriter(tmp_path, sharded=True)
    writer.start(files(), state(2))
    writer.close()
    assert checkpoint.latest(tmp_path) == (1, tmp_path / "step-000001")
