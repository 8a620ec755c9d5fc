"""Shards of an earlier version in one process; those of several are in `test_parallel`."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict
from torch.distributed.checkpoint.state_dict_saver import save

from efface.train.checkpoints.pickled_shards import has_shards, load_shards
from support.training import assert_equal, weights


def stepped(seed):
    """A module, of which the first layer is frozen, and its optimizer after a step."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    module[0].requires_grad_(False)
    optimizer = torch.optim.AdamW(module[1].parameters(), lr=0.1)
    module(torch.ones(1, 3)).square().sum().backward()
    optimizer.step()
    return module, optimizer


def save_shards(module, optimizer, folder):
    """As earlier versions did."""
    model, state = get_state_dict(module, optimizer, options=StateDictOptions(ignore_frozen_params=True))
    save({"model": model, "optimizer": state}, checkpoint_id=folder / "shards")


def test_trained_weights_and_optimizer_come_back(tmp_path):
    assert not has_shards(tmp_path)
    saved, saved_optimizer = stepped(0)
    save_shards(saved, saved_optimizer, tmp_path)
    assert has_shards(tmp_path)
    loaded, optimizer = stepped(1)
    frozen = weights(loaded[0])
    load_shards(loaded, optimizer, tmp_path)
    assert_equal(weights(loaded[1]), weights(saved[1]))
    assert_equal(weights(loaded[0]), frozen)
    moments = zip(saved_optimizer.state.values(), optimizer.state.values(), strict=True)
    assert all(torch.equal(old[name], new[name]) for old, new in moments for name in old)


class Malicious:
    """Runs code where it is unpickled without care."""

    def __reduce__(self):
        return Path.touch, (Path("owned"),)


def test_code_in_the_description_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module, optimizer = stepped(0)
    save_shards(module, optimizer, tmp_path)
    (tmp_path / "shards" / ".metadata").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(ValueError, match="no part of a checkpoint"):
        load_shards(module, optimizer, tmp_path)
    assert not Path("owned").exists()


def test_code_in_a_number_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module, optimizer = stepped(0)
    optimizer.param_groups[0]["foreach"] = Malicious()
    save_shards(module, optimizer, tmp_path)
    optimizer.param_groups[0]["foreach"] = None
    with pytest.raises(ValueError, match="Weights only load failed"):
        load_shards(module, optimizer, tmp_path)
    assert not Path("owned").exists()
