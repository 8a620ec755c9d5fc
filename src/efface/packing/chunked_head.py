"""The output head in chunks of positions, whose gradients are added to one tensor as large as its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import get_gradient_edge


def matmul_dtype(tensor: Tensor) -> torch.dtype:
    """The dtype in which a linear layer multiplies `tensor`: under autocast, the dtype of autocast."""
    device_type = tensor.device.type
    return torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else tensor.dtype


def score_in_chunks(
    head: nn.Linear, score: Callable[..., Tensor], rows: int, hidden: Tensor, *tensors: Tensor
) -> Tensor:
    """Compute `score(head(hidden), *tensors)` without the logits of all positions in memory.

    Logits are computed again in the backward pass. There, autograd would make a gradient as large as the weights for
    each chunk, and add these; here each chunk is added by the matrix product that computes it.

    Args:
        head: the output embeddings.
        score: from logits [n, V] as the head gives them, and slices [n, ...] of `tensors`, to numbers [n, ...].
        rows: n, how many positions a chunk has.
        hidden: hidden states [N, H].
        tensors: [N, ...] each; they get no gradient.

    Returns:
        The numbers [N, ...].
    """
    scores: Tensor = _ScoreInChunks.apply(  # type: ignore[no-untyped-call]
        _Chunks(score, rows), head.weight, head.bias, hidden, *tensors
    )
    return scores


class _Chunks(NamedTuple):
    """What is computed of the logits, and of how many positions at once."""

    score: Callable[..., Tensor]
    rows: int

    def of(self, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Slices of tensors."""
        return zip(*(each.split(self.rows) for each in tensors), strict=True)


class _ScoreInChunks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, chunks: _Chunks, weight: Tensor, bias: Tensor | None, hidden: Tensor, *tensors: Tensor
    ) -> Tensor:
        ctx.save_for_backward(weight, bias, hidden, *tensors)
        ctx.chunks, ctx.dtype = chunks, matmul_dtype(weight)
        ctx.autocast = torch.is_autocast_enabled(weight.device.type)
        # cast here: autocast would remember its own cast, without a gradient, for later calls of the head
        cast, cast_bias = _cast(weight, ctx.dtype), _cast(bias, ctx.dtype)
        scored = [
            chunks.score(F.linear(states.to(ctx.dtype), cast, cast_bias), *more)
            for states, *more in chunks.of(hidden, *tensors)
        ]
        return torch.cat(scored)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        weight, bias, hidden, *tensors = ctx.saved_tensors
        cast, cast_bias = _cast(weight, ctx.dtype), _cast(bias, ctx.dtype)
        _, needs_weight, needs_bias, needs_hidden, *_ = ctx.needs_input_grad
        weight_grad = torch.zeros_like(cast) if needs_weight else None
        bias_grad = torch.zeros_like(cast_bias) if needs_bias else None
        hidden_grads = []
        with torch.autocast(weight.device.type, ctx.dtype, enabled=ctx.autocast):
            for part, grad, *more in ctx.chunks.of(hidden, grads[0], *tensors):
                states = part.to(ctx.dtype)
                with torch.enable_grad():
                    logits = F.linear(states.detach().requires_grad_(), cast, cast_bias)
                    edge = get_gradient_edge(logits)
                    scores = ctx.chunks.score(logits, *more)
                del logits  # few losses need them for their gradient
                (logits_grad,) = torch.autograd.grad(scores, edge, grad)
                if weight_grad is not None:
                    weight_grad.addmm_(logits_grad.T, states)
                if bias_grad is not None:
                    bias_grad += logits_grad.sum(0)
                if needs_hidden:
                    hidden_grads.append((logits_grad @ cast).to(hidden.dtype))
        of_hidden = torch.cat(hidden_grads) if needs_hidden else None
        nothing = [None] * len(tensors)
        return None, _cast(weight_grad, weight.dtype), _cast(bias_grad, weight.dtype), of_hidden, *nothing


def _cast(tensor: Any, dtype: torch.dtype) -> Any:
    """A tensor, or None, in a dtype."""
    return None if tensor is None else tensor.to(dtype)
