"""The reference as a model in memory: another one, or the one in training with its adapter switched off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from efface.packing.forward import device_of, head, hidden_states
from efface.packing.packed_batch import pack
from efface.packing.support import packed_or_padded
from efface.text.formatter import Positions, TokenizedSequence


class LiveReference:
    """A frozen model asked for its distribution: another model, or a LoRA model with its adapter switched off.

    Dropout is off while it answers, whatever mode the model is in.
    """

    def __init__(self, model: Any, *, adapter_off: bool = False) -> None:
        """`adapter_off`: `model` is the one in training, and its base is the reference."""
        self._model = model
        self._adapter_off = adapter_off

    @torch.no_grad()
    def rows(self, sequences: Sequence[TokenizedSequence], positions: Positions) -> Tensor:
        """Last hidden states [N, H] where `positions` reads, sequence by sequence: one packed forward."""
        batch = pack(sequences, device_of(self._model))
        inside = nullcontext() if self._adapter_off else packed_or_padded(self._model)
        with self._frozen(), inside:
            return hidden_states(self._model, batch)[batch.reads(positions).rows]

    @torch.no_grad()
    def head(self, hidden: Tensor) -> Tensor:
        """Logits [N, V] of hidden states [N, H]."""
        with self._frozen():
            return head(self._model, hidden)

    @contextmanager
    def _frozen(self) -> Iterator[None]:
        was_training = self._model.training
        self._model.eval()
        try:
            with self._model.disable_adapter() if self._adapter_off else nullcontext():
                yield
        finally:
            self._model.train(was_training)
