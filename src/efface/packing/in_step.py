"""Forward passes of a sharded model by processes that make different numbers of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from efface import distributed
from efface.packing.forward import backbone_of, device_of, evaluation_mode, hidden_states
from efface.packing.packed_batch import pack
from efface.text.sequence import TokenizedSequence


@contextmanager
def in_step(model: Any) -> Iterator[None]:
    """Inside, each process may make as many forward passes of a sharded model as it needs.

    Every pass gathers the weights of each layer from all processes. One that has no pass left, or waits for the others,
    therefore repeats a pass of one token until all are done.

    Args:
        model: A causal language model, possibly inside PEFT, whose layers are sharded and whose other weights are
            unsharded while the block runs.
    """
    waiting = False

    def announce(*_: Any) -> None:
        if not waiting:
            distributed.any_process(True)

    @torch.no_grad()
    def wait() -> None:
        nonlocal waiting
        waiting = True
        batch = pack([TokenizedSequence("waiting", [0], [0])], device_of(model))
        with evaluation_mode(model):
            while distributed.any_process(False):
                hidden_states(model, batch)
        waiting = False

    hook = backbone_of(model).register_forward_pre_hook(announce)
    try:
        with distributed.waiting_before_exchange(wait):
            yield
    finally:
        hook.remove()
