"""A copy of a model's output head that training does not change."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from efface.packing.chunked_head import matmul_dtype
from efface.packing.forward import head_logits, unwrap_peft


class FrozenHead:
    """A copy of a model's output embeddings, with its logit scaling, that training does not change."""

    def __init__(self, model: Any) -> None:
        inner = unwrap_peft(model)
        self._config = inner.config
        self._output_embeddings = _frozen(inner.get_output_embeddings())

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        device: torch.device = self._output_embeddings.weight.device
        return device

    @torch.no_grad()
    def __call__(self, hidden: Tensor) -> Tensor:
        """Compute logits [N, V] of states [N, H]."""
        return head_logits(self._output_embeddings, self._config, hidden)


def _frozen(output_embeddings: Any) -> Any:
    """Output embeddings that training does not change: the same ones if they are not trained, else a copy."""
    dtype = matmul_dtype(output_embeddings.weight)
    trained = any(parameter.requires_grad for parameter in output_embeddings.parameters())
    if output_embeddings.weight.dtype == dtype and not trained:
        return output_embeddings
    copies: dict[int, Any] = {
        id(each): nn.Parameter(each.detach().to(dtype, copy=True), requires_grad=False)
        for each in output_embeddings.parameters()  # in training, these may be casts, which cannot be copied
    }
    return deepcopy(output_embeddings, copies)
