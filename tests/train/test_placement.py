"""What a placement refuses; what it computes is in `test_processes`."""

from __future__ import annotations

import pytest
import torch

from efface.errors import EffaceError
from efface.train import parallel
from efface.train.parallel import FSDPModel, ParallelModel


def test_a_model_that_is_read_in_rows_cannot_be_sharded(tiny_llama, monkeypatch):
    """Its processes would make other numbers of forwards, and wait for each other forever."""
    monkeypatch.setattr(parallel, "packing_unsupported_reason", lambda _: "Model cannot be packed: it has other layers")
    with pytest.raises(
        EffaceError, match=r"^Model cannot be packed: it has other layers, so that .* leave train.shard"
    ):
        FSDPModel(tiny_llama(), torch.device("cpu"), bf16=False)


def test_shards_do_not_load_what_one_process_wrote(tiny_llama, tmp_path):
    alone = ParallelModel(tiny_llama())
    alone.optimizer = torch.optim.AdamW(alone.model.parameters())
    alone.save(tmp_path)
    with pytest.raises(EffaceError, match=r"it was written by one process, .* go on with one"):
        FSDPModel.load(alone, tmp_path)
