"""An optimizer continues from named tensors as from its own state."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from efface.train.checkpoints.checkpoint_files import CheckpointFile, StoredTensors
from efface.train.checkpoints.optimizer_state import load_optimizer_tensors, optimizer_tensors
from efface.train.optimizer.adamw8bit import AdamW8bit
from efface.train.optimizer.optimizer import adamw8bit_unsupported_reason

REASON = adamw8bit_unsupported_reason(torch.device("cpu"))
needs_8bit = pytest.mark.skipif(REASON is not None, reason=f"8-bit AdamW needs {REASON}")


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 3, bias=False))


def groups(module):
    """The matrices first: not in the order of the names."""
    parameters = list(module.parameters())
    return [{"params": [p for p in parameters if p.ndim == d], "weight_decay": 0.1 * (d - 1)} for d in (2, 1)]


def step(module, optimizer, numbers):
    for number in numbers:
        torch.manual_seed(number)
        optimizer.zero_grad()
        module(torch.randn(5, 64)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("make", [torch.optim.AdamW, pytest.param(AdamW8bit, marks=needs_8bit)])
def test_it_continues(make, tmp_path):
    with torch.compiler.set_stance("force_eager"):
        whole, cut = model(), model()
        optimizer, first, second = make(groups(whole), lr=0.1), make(groups(cut), lr=0.1), make(groups(cut), lr=0.1)
        step(whole, optimizer, range(4))
        step(cut, first, range(2))
        tensors = optimizer_tensors(cut, first)
        CheckpointFile("optimizer.safetensors", tensors).write(tmp_path)  # in the memory that the optimizer uses
        load_optimizer_tensors(cut, second, StoredTensors([tmp_path / "optimizer.safetensors"]))
        step(cut, second, range(2, 4))
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), cut.parameters(), strict=True))
    assert any(name.startswith("exp_avg") and name.endswith("/1.weight") for name in tensors)


def test_what_was_read_does_not_depend_on_the_file(tmp_path):
    """Training removes the checkpoint that it resumed from."""
    module, file = model(), tmp_path / "optimizer.safetensors"
    optimizer, other = torch.optim.AdamW(groups(module)), torch.optim.AdamW(groups(module))
    step(module, optimizer, range(1))
    CheckpointFile(file.name, optimizer_tensors(module, optimizer)).write(tmp_path)
    load_optimizer_tensors(module, other, StoredTensors([file]))
    with file.open("r+b") as opened:  # in place: a mapping of it would change
        opened.write(bytes(file.stat().st_size))
    expected, loaded = optimizer_tensors(module, optimizer), optimizer_tensors(module, other)
    assert all(torch.equal(loaded[name], each) for name, each in expected.items())


def test_settings_stay(tmp_path):
    module = model()
    optimizer = torch.optim.AdamW(groups(module), lr=0.1)
    step(module, optimizer, range(1))
    CheckpointFile("optimizer.safetensors", optimizer_tensors(module, optimizer)).write(tmp_path)
    other = torch.optim.AdamW(groups(module), lr=0.3)
    load_optimizer_tensors(module, other, StoredTensors([tmp_path / "optimizer.safetensors"]))
    assert [group["lr"] for group in other.param_groups] == [0.3, 0.3]
