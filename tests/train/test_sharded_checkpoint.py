"""Shards of one process; those of several are in `test_parallel`."""

from __future__ import annotations

import torch
from torch import nn

from efface.train.sharded_checkpoint import has_shards, load_shards, save_shards
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
