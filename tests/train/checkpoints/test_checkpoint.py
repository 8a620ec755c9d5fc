"""Checkpoints are complete or absent; the older one is removed only once the newer one is complete."""

from __future__ import annotations

import json
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from efface.errors import EffaceError
from efface.models.lora import add_adapters
from efface.train.checkpoints import checkpoint
from efface.train.checkpoints.checkpoint import TrainerState
from efface.train.checkpoints.checkpoint_writer import CheckpointWriter
from efface.train.config import LoRAConfig
from efface.train.distribution.parallel import ParallelModel
from support.messages import assert_names
from support.training import assert_equal, weights

BUDGET = {"tokens": 640, "checkpointing": True}


@contextmanager
def file_size_limit(size):
    """As on a disk that fills up: no file grows larger than `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def stepped(tiny_llama):
    """A model whose optimizer has made a step; only adapters are trained if `lora`."""

    def make(*, lora=None, **shape):
        model = tiny_llama(**shape)
        parallel_model = ParallelModel(model if lora is None else add_adapters(model, lora, seed=0))
        trained = [parameter for parameter in parallel_model.model.parameters() if parameter.requires_grad]
        parallel_model.optimizer = torch.optim.AdamW(trained, lr=0.1)
        parallel_model.model(torch.tensor([[1, 2, 3]])).logits.square().sum().backward()
        parallel_model.optimizer.step()
        return parallel_model

    return make


def save(parallel_model, folder, step):
    writer = CheckpointWriter(folder, sharded=False)
    writer.start(parallel_model.checkpoint_files(), TrainerState(step=step, token_budget=BUDGET))
    writer.wait()
    return checkpoint.checkpoint_folder(folder, step)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def zero(model):
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.zero_()


def test_the_newest_complete_checkpoint_is_the_latest(tmp_path):
    assert checkpoint.latest(tmp_path / "nowhere") is None
    for name in ("step-000009", "step-000010", "step-100000", ".step-200000.partial", "step-x"):
        (tmp_path / name).mkdir()
    assert checkpoint.latest(tmp_path) == (100000, tmp_path / "step-100000")


@pytest.mark.parametrize("tied", [False, True])
def test_saved_and_loaded(tmp_path, stepped, tied):
    parallel_model = stepped(tied=tied)
    model, moments = parallel_model.model, parallel_model.optimizer.state_dict()["state"]
    saved = weights(model)
    path = save(parallel_model, tmp_path, 3)
    assert path == tmp_path / "step-000003"
    zero(model)
    parallel_model.optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    assert checkpoint.load(parallel_model, path) == TrainerState(step=3, token_budget=BUDGET)
    assert_equal(weights(model), saved)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    loaded = parallel_model.optimizer.state_dict()["state"]
    assert all(torch.equal(loaded[key][name], moments[key][name]) for key in moments for name in moments[key])


def test_nothing_is_pickled(tmp_path, stepped):
    path = save(stepped(), tmp_path, 3)
    assert names(path) == ["SHA256SUMS", "optimizer.safetensors", "trained.safetensors", "trainer_state.json"]
    assert json.loads((path / "trainer_state.json").read_text()) == {"step": 3, "token_budget": BUDGET}


def test_only_the_last_one_stays(tmp_path, stepped):
    parallel_model = stepped()
    for step in (2, 4, 4):  # the second 4 is as after a kill between the renaming and the removal of older ones
        save(parallel_model, tmp_path, step)
    assert names(tmp_path) == ["step-000004"]


def test_what_a_kill_left_is_replaced(tmp_path, stepped):
    parallel_model = stepped()
    (tmp_path / ".step-000002.partial").mkdir()
    (tmp_path / ".step-000002.partial" / "model.safetensors").write_bytes(b"half")
    checkpoint.load(parallel_model, save(parallel_model, tmp_path, 2))
    assert names(tmp_path) == ["step-000002"]


def test_what_a_kill_left_of_another_step_is_removed(tmp_path, stepped):
    saved = save(stepped(), tmp_path, 2)
    (tmp_path / ".step-000004.partial").mkdir()
    (tmp_path / ".step-000004.partial" / "model.safetensors").write_bytes(b"half")
    checkpoint.remove_partial(tmp_path)
    assert list(tmp_path.iterdir()) == [saved]
    checkpoint.remove_partial(tmp_path / "absent")


@pytest.mark.parametrize("size", [0, 5_000, 30_000], ids=["nothing fits", "no weights", "no optimizer state"])
def test_a_full_disk_leaves_the_older_one(tmp_path, stepped, size):
    parallel_model = stepped()
    model = parallel_model.model
    saved = weights(model)
    save(parallel_model, tmp_path, 2)
    with torch.no_grad():
        model.lm_head.weight.add_(1)
    with file_size_limit(size), pytest.raises(EffaceError) as raised:
        save(parallel_model, tmp_path, 4)
    message = str(raised.value)
    assert message.startswith(f"cannot write {tmp_path / 'step-000004'} (")
    assert message.endswith("free some space or choose another --out")
    assert "\n" not in message
    assert names(tmp_path) == ["step-000002"]
    checkpoint.load(parallel_model, tmp_path / "step-000002")
    assert_equal(weights(model), saved)


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:20]), Path.unlink])
@pytest.mark.parametrize("file", ["trained.safetensors", "optimizer.safetensors", "trainer_state.json"])
def test_a_damaged_one_is_named(tmp_path, stepped, file, damage):
    parallel_model = stepped()
    path = save(parallel_model, tmp_path, 2)
    damage(path / file)
    with pytest.raises(EffaceError, match=f"checkpoint {path} does not load .*; remove it") as raised:
        checkpoint.load(parallel_model, path)
    assert "\n" not in str(raised.value)


def test_a_flipped_byte_another_file_and_a_missing_file_are_refused(tmp_path, stepped):
    parallel_model = stepped()

    def flip(path):
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)

    damages = [
        ("trained.safetensors", flip),
        ("optimizer.safetensors", flip),
        ("trainer_state.json", lambda path: path.write_text(path.read_text().replace("640", "64"))),
        ("custom_checkpoint_0.pkl", lambda path: path.write_bytes(b"x")),
        ("SHA256SUMS", lambda path: path.write_text("no sums")),
        ("trained.safetensors", Path.unlink),
    ]
    for file, damage in damages:
        path = save(parallel_model, tmp_path, 2)
        checkpoint.load(parallel_model, path)
        damage(path / file)
        with pytest.raises(EffaceError) as raised:
            checkpoint.load(parallel_model, path)
        assert_names(str(raised.value), f"checkpoint {path}", str(path / file), "remove it")


def test_only_adapters_are_stored(tmp_path, stepped):
    parallel_model = stepped(lora=LoRAConfig(r=2))
    model = parallel_model.model
    saved = weights(model)
    path = save(parallel_model, tmp_path, 1)
    stored = load_file(path / "trained.safetensors")
    assert len(stored) == 2 * 2 * 7
    assert all("lora_" in name for name in stored)
    zero(model)
    checkpoint.load(parallel_model, path)
    assert_equal(weights(model), saved)


# Of earlier versions


class Malicious:
    """Runs code where it is unpickled without care."""

    def __reduce__(self):
        return Path.touch, (Path("owned"),)


def with_pickled_optimizer(path, parallel_model):
    """Replace the optimizer's file by that of an earlier version."""
    (path / "optimizer.safetensors").unlink()
    (path / "SHA256SUMS").unlink()
    torch.save(parallel_model.optimizer.state_dict(), path / "optimizer.pt")


def as_of_an_earlier_version(path, parallel_model, step, token_budget):
    """Replace the state in JSON by the files that accelerate wrote."""
    with_pickled_optimizer(path, parallel_model)
    (path / "trainer_state.json").unlink()
    scheduler = {"base_lrs": [0.1], "last_epoch": step, "_step_count": step + 1, "_last_lr": [0.1], "lr_lambdas": [{}]}
    torch.save(scheduler, path / "custom_checkpoint_0.pkl")
    torch.save(token_budget, path / "custom_checkpoint_1.pkl")
    torch.save({"random_state": Malicious()}, path / "random_states_0.pkl")  # not read


@pytest.mark.parametrize("token_budget", [BUDGET, {"tokens": 640}])
def test_one_of_an_earlier_version_loads(tmp_path, stepped, token_budget, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parallel_model = stepped()
    saved = weights(parallel_model.model)
    path = save(parallel_model, tmp_path / "checkpoints", 50)
    as_of_an_earlier_version(path, parallel_model, 50, token_budget)
    zero(parallel_model.model)
    assert checkpoint.load(parallel_model, path) == TrainerState(step=50, token_budget=token_budget)
    assert_equal(weights(parallel_model.model), saved)
    assert not Path("owned").exists()


def test_a_pickled_optimizer_of_an_earlier_version_loads(tmp_path, stepped):
    parallel_model = stepped()
    path = save(parallel_model, tmp_path, 3)
    with_pickled_optimizer(path, parallel_model)
    moments = parallel_model.optimizer.state_dict()["state"]
    parallel_model.optimizer = torch.optim.AdamW(parallel_model.model.parameters(), lr=0.1)
    checkpoint.load(parallel_model, path)
    loaded = parallel_model.optimizer.state_dict()["state"]
    assert all(torch.equal(loaded[key][name], moments[key][name]) for key in moments for name in moments[key])


def test_a_pickled_optimizer_with_code_does_not_load(tmp_path, stepped, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parallel_model = stepped()
    path = save(parallel_model, tmp_path / "checkpoints", 3)
    (path / "optimizer.safetensors").unlink()
    (path / "SHA256SUMS").unlink()
    torch.save({"state": Malicious()}, path / "optimizer.pt")
    with pytest.raises(EffaceError, match=f"checkpoint {path} does not load"):
        checkpoint.load(parallel_model, path)
    assert not Path("owned").exists()


@pytest.mark.parametrize("content", [{"tokens": Malicious()}, None], ids=["with code", "missing"])
def test_one_of_an_earlier_version_that_does_not_load(tmp_path, stepped, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parallel_model = stepped()
    path = save(parallel_model, tmp_path / "checkpoints", 50)
    as_of_an_earlier_version(path, parallel_model, 50, content)
    if content is None:
        (path / "custom_checkpoint_1.pkl").unlink()
    with pytest.raises(EffaceError, match=f"checkpoint {path} was written by an earlier version .*another --out") as it:
        checkpoint.load(parallel_model, path)
    assert "\n" not in str(it.value)
    assert not Path("owned").exists()
