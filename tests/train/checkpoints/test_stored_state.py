"""Which files of a checkpoint are read: safetensors where there are any, else what earlier versions pickled."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from efface.errors import EffaceError
from efface.train.checkpoints.stored_state import load_state
from efface.train.distribution.parallel import ForwardWrapper, ParallelModel
from support.training import assert_equal, weights


class Malicious:
    """Runs code where it is unpickled without care."""

    def __reduce__(self):
        return Path.touch, (Path("owned"),)


@pytest.fixture
def saved(tiny_llama, tmp_path):
    """A model and its optimizer after a step, whose files are in `tmp_path`."""
    model = ParallelModel(tiny_llama())
    model.optimizer = torch.optim.AdamW(model.model.parameters())
    model.model(torch.tensor([[1, 2, 3]])).logits.square().sum().backward()
    model.optimizer.step()
    for file in model.checkpoint_files():
        file.write(tmp_path)
    return model


def load(saved, folder, *, sharded=False):
    load_state(saved.model, saved.optimizer, folder, wrapped=ForwardWrapper(saved.model), sharded=sharded)


def test_pickles_beside_safetensors_are_not_read(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shards").mkdir()
    for name in ("optimizer.pt", "shards/.metadata"):
        (tmp_path / name).write_bytes(pickle.dumps(Malicious()))
    before = weights(saved.model)
    with torch.no_grad():
        saved.model.lm_head.weight.zero_()
    load(saved, tmp_path)
    assert_equal(weights(saved.model), before)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["trained", "optimizer"])
def test_a_missing_file_is_named(saved, tmp_path, name):
    (tmp_path / f"{name}.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name}\.safetensors"):
        load(saved, tmp_path)


def test_a_pickled_optimizer_of_one_process_cannot_be_sharded(saved, tmp_path):
    (tmp_path / "optimizer.safetensors").unlink()
    torch.save(saved.optimizer.state_dict(), tmp_path / "optimizer.pt")
    load(saved, tmp_path)
    with pytest.raises(EffaceError, match=r"optimizer.pt was written by one process .* resume with one process"):
        load(saved, tmp_path, sharded=True)
