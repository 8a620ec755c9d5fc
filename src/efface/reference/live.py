"""The reference model in memory: a second model, or the one in training with its adapter disabled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from efface.packing.forward import compute_logits, device_of, evaluation_mode, hidden_states
from efface.packing.layers import LayerPositions, layer_states
from efface.packing.packed_batch import pack
from efface.packing.padded_rows import StatePositions, padded_hidden_states
from efface.packing.support import packed_or_padded
from efface.reference.frozen_head import FrozenHead
from efface.text.sequence import TokenizedSequence

_Forward = Callable[[Callable[[Any], Any]], Any]


class LiveReference:
    """Next-token distributions of a frozen model, computed when they are needed.

    Dropout is off, even if the model is in training mode.

    Args:
        model: the reference model, or the model in training.
        adapter_off: `model` is the LoRA model in training; the reference is its base model.
        forward: of a sharded model: calls a function with `model`, its weights unsharded. Every process must then
            compute hidden states equally often; logits are computed by a copy of the head in each.
    """

    def __init__(self, model: Any, *, adapter_off: bool = False, forward: _Forward | None = None) -> None:
        self._model = model
        self._adapter_off = adapter_off
        self._forward = forward
        self._head = None if forward is None else forward(FrozenHead)

    @torch.no_grad()
    def hidden_states(self, sequences: Sequence[TokenizedSequence], positions: StatePositions) -> Tensor:
        """Compute hidden states [N, H] at the selected positions, sequence by sequence, in one forward pass."""
        # the model in training is already inside `packed_or_padded`
        context = nullcontext() if self._adapter_off else packed_or_padded(self._model)
        with self._frozen(), context:
            computed: Tensor = self._call(partial(_states, sequences=sequences, positions=positions))
            return computed

    @torch.no_grad()
    def logits(self, hidden: Tensor) -> Tensor:
        """Compute logits [N, V] of hidden states [N, H].

        Adapters stay on: the head has none, and switching those of all layers takes longer than the head.
        """
        if self._head is not None:
            logits: Tensor = self._head(hidden)
            return logits
        return compute_logits(self._model, hidden)

    def _call(self, compute: Callable[[Any], Any]) -> Any:
        return compute(self._model) if self._forward is None else self._forward(compute)

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        with evaluation_mode(self._model), self._model.disable_adapter() if self._adapter_off else nullcontext():
            yield


def _states(model: Any, sequences: Sequence[TokenizedSequence], positions: StatePositions) -> Tensor:
    if positions == "row":
        return padded_hidden_states(model, sequences).flatten(0, 1)
    batch = pack(sequences, device_of(model))
    if isinstance(positions, LayerPositions):
        at = batch.target_positions(positions.positions, own=True)
        return layer_states(model, batch, positions.layer)[at.token_index]
    return hidden_states(model, batch)[batch.target_positions(positions).token_index]
