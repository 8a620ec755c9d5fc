"""Where a run computes."""

from __future__ import annotations

import pytest
import torch

from efface import distributed
from efface.errors import EffaceError
from efface.hardware.device import device_for


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_for("auto").type == device_for("cpu").type == "cpu"
    with pytest.raises(EffaceError, match="device=cuda: torch sees no CUDA device here; use device=cpu or auto"):
        device_for("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_for("auto").type == device_for("cuda").type == "cuda"
    assert device_for("cpu").type == "cpu"


def test_each_process_of_a_machine_needs_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(distributed, "init_process_group", lambda _: None)
    monkeypatch.setattr(distributed, "_group", distributed._Group(1, 4))
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device_for("auto") == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(EffaceError, match="process 2 of this machine has no GPU of its own, there are 2"):
        device_for("auto")
    assert device_for("cpu").type == "cpu"
