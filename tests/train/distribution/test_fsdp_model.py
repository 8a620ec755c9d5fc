"""What cannot be sharded; trainings of sharded models are in `test_parallel`, stored ones in `test_load_parallel`."""

from __future__ import annotations

import pytest
import torch

from efface.errors import EffaceError
from efface.train.distribution import fsdp_model
from efface.train.distribution.fsdp_model import FSDPModel


def test_a_model_that_cannot_be_packed_cannot_be_sharded(tiny_llama, monkeypatch):
    """Its processes would make different numbers of forward passes, and wait for each other forever."""
    reason = "Model cannot be packed: it has other layers"
    monkeypatch.setattr(fsdp_model, "packing_unsupported_reason", lambda _: reason)
    with pytest.raises(EffaceError, match=r"^Model cannot be packed: it has other layers, so that .*train\.sharding"):
        FSDPModel(tiny_llama(), torch.device("cpu"), bf16=False)
