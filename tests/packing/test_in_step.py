"""Passes of processes that make different numbers of them; tests/train/distribution has tests with real processes."""

from __future__ import annotations

import pytest
import torch

from efface import distributed
from efface.packing.forward import hidden_states
from efface.packing.in_step import in_step
from efface.packing.packed_batch import pack
from efface.packing.support import packed_or_padded
from efface.text.sequence import TokenizedSequence
from support.tiny import llama

CPU = torch.device("cpu")


@pytest.fixture
def announced(monkeypatch):
    """What this process announced; the others make `left` more passes than it."""

    class Announced(list):
        left = 0

        def any_process(self, value):
            self.append(value)
            if not value:
                self.left -= 1
            return value or self.left >= 0

    told = Announced()
    monkeypatch.setattr(distributed, "any_process", told.any_process)
    return told


@pytest.fixture
def passes():
    """A model that counts the passes of its layers."""
    model = llama()
    model.passes = []
    model.model.layers[0].register_forward_pre_hook(lambda *_: model.passes.append(1))
    return model


def test_each_pass_is_announced_and_the_others_are_waited_for(announced, passes):
    announced.left = 3
    with torch.no_grad(), in_step(passes):
        passes(torch.tensor([[1, 2]]))
        passes(torch.tensor([[1, 2, 3]]))
    assert announced == [True, True, False, False, False, False]
    assert len(passes.passes) == 2 + 3


def test_packed_passes_are_announced_too(announced, passes):
    with torch.no_grad(), in_step(passes), packed_or_padded(passes):
        hidden_states(passes, pack([TokenizedSequence("a", [1], [2])], CPU))
    assert announced[-2:] == [True, False]


def test_after_the_block_passes_are_not_announced(announced, passes):
    with in_step(passes):
        pass
    announced.clear()
    passes(torch.tensor([[1, 2]]))
    assert announced == []


def test_an_error_does_not_wait(announced, passes):
    with pytest.raises(ValueError, match="mine"), in_step(passes):
        raise ValueError("mine")
    assert announced == []
