"""Checkpoints are whole or not there; the older one goes only when the newer one stands."""

from __future__ import annotations

import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors import SafetensorError
from safetensors.torch import load_file

from efface.errors import EffaceError
from efface.models.lora import add_adapters
from efface.train import checkpoint
from efface.train.config import LoRAConfig
from efface.train.parallel import ParallelModel


@contextmanager
def files_of_at_most(size):
    """As on a disk that fills up: no write goes beyond `size` bytes of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def prepared(tiny_llama):
    """An accelerator, and a model in place whose optimizer has made a step; adapters alone are trained if `lora`."""

    def make(*, lora=None, **shape):
        AcceleratorState._reset_state(reset_partial_state=True)
        model = tiny_llama(**shape)
        placement = ParallelModel(model if lora is None else add_adapters(model, lora, seed=0))
        trained = [parameter for parameter in placement.model.parameters() if parameter.requires_grad]
        placement.optimizer = torch.optim.AdamW(trained, lr=0.1)
        placement.model(torch.tensor([[1, 2, 3]])).logits.square().sum().backward()
        placement.optimizer.step()
        return Accelerator(cpu=True), placement

    return make


def weights(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def assert_equal(mine, theirs):
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_whole_one_counts(tmp_path):
    assert checkpoint.latest(tmp_path / "nowhere") is None
    for name in ("step-000009", "step-000010", "step-100000", ".step-200000.partial", "step-x"):
        (tmp_path / name).mkdir()
    assert checkpoint.latest(tmp_path) == (100000, tmp_path / "step-100000")


@pytest.mark.parametrize("tied", [False, True])
def test_saved_and_loaded(tmp_path, prepared, tied):
    accelerator, placement = prepared(tied=tied)
    model = placement.model
    saved = weights(model)
    path = checkpoint.save(accelerator, placement, tmp_path, 3)
    assert path == tmp_path / "step-000003"
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    checkpoint.load(accelerator, placement, path)
    assert_equal(weights(model), saved)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied


def test_only_the_last_one_is_kept(tmp_path, prepared):
    accelerator, placement = prepared()
    for step in (2, 4, 4):  # the second 4 is as after a kill between a rename and what follows
        checkpoint.save(accelerator, placement, tmp_path, step)
    assert names(tmp_path) == ["step-000004"]


def test_what_a_kill_left_behind_is_in_nobodys_way(tmp_path, prepared):
    accelerator, placement = prepared()
    (tmp_path / ".step-000002.partial").mkdir()
    (tmp_path / ".step-000002.partial" / "model.safetensors").write_bytes(b"half")
    checkpoint.load(accelerator, placement, checkpoint.save(accelerator, placement, tmp_path, 2))
    assert names(tmp_path) == ["step-000002"]


@pytest.mark.parametrize("size", [0, 5_000, 30_000], ids=["nothing fits", "no weights", "no optimizer state"])
def test_a_full_disk_leaves_the_older_one(tmp_path, prepared, size):
    accelerator, placement = prepared()
    model = placement.model
    saved = weights(model)
    checkpoint.save(accelerator, placement, tmp_path, 2)
    with torch.no_grad():
        model.lm_head.weight.add_(1)
    with files_of_at_most(size), pytest.raises(EffaceError) as raised:
        checkpoint.save(accelerator, placement, tmp_path, 4)
    message = str(raised.value)
    assert message.startswith(f"cannot write {tmp_path / 'step-000004'} (")
    assert message.endswith("free some space or choose another --out")
    assert "\n" not in message
    assert names(tmp_path) == ["step-000002"]
    checkpoint.load(accelerator, placement, tmp_path / "step-000002")
    assert_equal(weights(model), saved)


def fail_half_way(folder, error):
    with checkpoint.atomic_folder(folder) as beside:
        beside.mkdir()
        (beside / "half").write_text("half")
        raise error


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
def test_whoever_notices_that_the_disk_is_full(tmp_path, error):
    with pytest.raises(EffaceError) as raised:
        fail_half_way(tmp_path / "deep" / "new", error)
    assert str(error).splitlines()[0] in str(raised.value)
    assert "\n" not in str(raised.value)
    assert names(tmp_path / "deep") == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(EffaceError, match=r"cannot write .*file/new"),
        checkpoint.atomic_folder(tmp_path / "file" / "new"),
    ):
        pass


def test_an_interrupt_passes_and_nothing_half_written_stays(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fail_half_way(tmp_path / "new", KeyboardInterrupt())
    assert names(tmp_path) == []


def test_a_folder_takes_the_place_of_an_older_one(tmp_path):
    """A kill between two folders of one save leaves the first; it is then written again."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "old").write_text("")
    with checkpoint.atomic_folder(tmp_path / "adapter") as beside:
        beside.mkdir()
        (beside / "new").write_text("")
    assert names(tmp_path) == ["adapter"]
    assert names(tmp_path / "adapter") == ["new"]


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:100]), Path.unlink])
@pytest.mark.parametrize("file", ["trained.safetensors", "optimizer.pt"])
def test_a_damaged_one_is_named(tmp_path, prepared, file, damage):
    accelerator, placement = prepared()
    path = checkpoint.save(accelerator, placement, tmp_path, 2)
    damage(path / file)
    with pytest.raises(EffaceError, match=f"checkpoint {path} does not load .*; remove it to start anew") as raised:
        checkpoint.load(accelerator, placement, path)
    assert "\n" not in str(raised.value)


def test_adapters_are_all_that_is_kept(tmp_path, prepared):
    accelerator, placement = prepared(lora=LoRAConfig(r=2))
    model = placement.model
    saved = weights(model)
    path = checkpoint.save(accelerator, placement, tmp_path, 1)
    kept = load_file(path / "trained.safetensors")
    assert not (path / "model.safetensors").exists()
    assert len(kept) == 2 * 2 * 7
    assert all("lora_" in name for name in kept)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.zero_()
    checkpoint.load(accelerator, placement, path)
    assert_equal(weights(model), saved)
