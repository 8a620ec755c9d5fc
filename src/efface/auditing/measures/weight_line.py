"""The straight line between the weights of two models."""

from __future__ import annotations

from typing import Any

import torch

from efface.auditing.attack import ModelAccess
from efface.packing.forward import unwrap_peft


class WeightLine:
    """Moves a model in place along the line from its own weights, at 0, to those of the model before, at 1."""

    def __init__(self, model: Any, before: ModelAccess) -> None:
        """Take a model at 0 of the line.

        Args:
            model: A causal language model, possibly inside PEFT; the caller puts its weights back.
            before: The model at 1, which is read weight by weight.
        """
        self._weights = dict(unwrap_peft(model).named_parameters())
        self._before = before
        self._now = 0.0

    @torch.no_grad()
    def move(self, share: float) -> None:
        """Move the model to a point, forwards or backwards; from 1, which holds nothing of the model, to nowhere."""
        assert self._now < 1 or share == self._now
        if share == self._now:
            return
        for name, theirs in self._before.tensors():
            if name in self._weights:
                ours = self._weights[name]
                ours.lerp_(theirs.to(ours), (share - self._now) / (1 - self._now))
        self._now = share
