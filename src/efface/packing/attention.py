"""Attention within each sequence of a packed row, registered with transformers as `efface_packed`.

On CUDA in half precision it is torch's variable-length flash attention. Elsewhere sequences of like length
are laid out as rows for attention alone: its cost grows with real tokens too, and every other layer of the
model still sees the packed row. Either way a token that several sequences share is laid out in each of them.
A dense [T, T] mask, which transformers would build from position ids, costs the square of the whole batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from efface.errors import EffaceError
from efface.packing.packed_batch import GatherPlan, Layout

NAME = "efface_packed"


class PackingUnsupportedError(EffaceError):
    """A model whose sequences cannot be packed; the message says which and why."""


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packing: Layout | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal self-attention of packed sequences; query, key, value are [1, heads, T, width].

    Returns [1, T, heads, width]. Signature and meaning of the arguments are those of transformers'
    `AttentionInterface`; `packed_attention_enabled` says where the sequences lie. Raises `PackingUnsupportedError` where a model asks for
    something that is not implemented here (a mask of its own), rather than compute something else.
    """
    if packing is None or attention_mask is not None:
        raise PackingUnsupportedError(
            f"{type(module).__name__} cannot be packed: it needs more than causal masking within a sequence"
        )
    # Under autocast, norms of queries and keys in float32 weights give float32 back.
    query, key = query.to(value.dtype), key.to(value.dtype)
    groups = query.shape[1] // key.shape[1]
    window = sliding_window if sliding_window and packing.longest > sliding_window else None
    plain = softcap is None and s_aux is None and window is None
    flash = plain and dropout == 0.0 and _flash(query, value)
    # [T, heads, width]: rows are gathered from the first dimension
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    if groups > 1:
        key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    if flash:
        return _varlen(query, key, value, packing, scaling).unsqueeze(0), None
    buckets, spread = packing.rows
    sizes = [bucket.gather.numel() for bucket in buckets]
    parts = (_gather(tensor, spread).split(sizes) for tensor in (query, key, value))
    outputs = []
    for bucket, *part in zip(buckets, *parts, strict=True):
        q, k, v = (tensor.unflatten(0, bucket.gather.shape).transpose(1, 2) for tensor in part)
        rows = _row_attention(q, k, v, scaling=scaling, dropout=dropout, window=window, softcap=softcap, sinks=s_aux)
        outputs.append(rows.transpose(1, 2).flatten(0, 1))
    return _gather_back(torch.cat(outputs), spread).unsqueeze(0), None


class _Gather(torch.autograd.Function):
    """Tokens [T, ...] laid out [P, ...], a token at each place where a sequence holds it.

    Indexing alone would add up the gradients of each token one after the other, a quarter of a step on a CPU, and in
    any order on a GPU. Here each token sums over its places. Padding has no gradient: nothing reads what it sees, and
    nothing sees it.
    """

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, places: Tensor, holders: Tensor, starts: Tensor | None) -> Tensor:
        ctx.save_for_backward(holders, starts)
        return tokens[places]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        holders, starts = ctx.saved_tensors
        grad = grads[0]
        if starts is None:
            return grad[holders], None, None, None
        summed = F.embedding_bag(holders, grad.flatten(1).contiguous(), starts, mode="sum")
        return summed.unflatten(1, grad.shape[1:]), None, None, None


class _GatherBack(torch.autograd.Function):
    """The way back, from [P, ...] to [T, ...]; `back` holds no place twice."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        ctx.shape = rows.shape
        return rows[back]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (back,) = ctx.saved_tensors
        rows = grads[0].new_zeros(ctx.shape)
        rows[back] = grads[0]
        return rows, None


def _gather(tokens: Tensor, spread: GatherPlan) -> Tensor:
    rows: Tensor = _Gather.apply(tokens, spread.places, spread.holders, spread.starts)  # type: ignore[no-untyped-call]
    return rows


def _gather_back(rows: Tensor, spread: GatherPlan) -> Tensor:
    tokens: Tensor = _GatherBack.apply(rows, spread.back)  # type: ignore[no-untyped-call]
    return tokens


def _row_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scaling: float | None,
    dropout: float,
    window: int | None,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """Causal attention of right-padded rows [rows, heads, longest, width]: causality alone hides the padding.

    `sinks` [heads] are scores of one more key in each head, which takes attention and gives no value (GPT-OSS).
    """
    if window is None and softcap is None and sinks is None:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=scaling)
    position = torch.arange(q.shape[2], device=q.device)
    distance = position[:, None] - position[None, :]
    seen = distance >= 0 if window is None else (distance >= 0) & (distance < window)
    if softcap is None and sinks is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropout, scale=scaling)
    scores = q @ k.transpose(2, 3) * (scaling if scaling is not None else q.shape[-1] ** -0.5)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~seen, float("-inf"))
    if sinks is not None:
        scores = torch.cat([scores, sinks.to(scores.dtype)[:, None, None].expand(*scores.shape[:3], 1)], dim=-1)
    weights = F.softmax(scores, dim=-1, dtype=torch.float32)[..., : k.shape[2]].to(q.dtype)
    return F.dropout(weights, dropout) @ v


def _flash(query: Tensor, value: Tensor) -> bool:
    fits = query.dtype in (torch.float16, torch.bfloat16) and query.shape[-1] == value.shape[-1] <= 256
    return query.is_cuda and fits and query.shape[-1] % 8 == 0


@cache
def _causal() -> dict[str, Any]:
    """How the installed torch asks for causal attention: a flag in 2.10, a window since."""
    from torch.nn.attention.varlen import varlen_attn

    flag = "is_causal" in inspect.signature(varlen_attn).parameters
    return {"is_causal": True} if flag else {"window_size": (-1, 0)}


def _varlen(query: Tensor, key: Tensor, value: Tensor, packing: Layout, scaling: float | None) -> Tensor:
    """[T, heads, width] of each."""
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (
        _gather(tensor, packing.whole) if packing.shares else tensor.contiguous() for tensor in (query, key, value)
    )
    longest = packing.longest
    out = varlen_attn(q, k, v, packing.offsets, packing.offsets, longest, longest, scale=scaling, **_causal())
    assert isinstance(out, Tensor)
    return _gather_back(out, packing.whole) if packing.shares else out


@contextmanager
def packed_attention_enabled(model: Any) -> Iterator[None]:
    """Let `model` attend within packed sequences; its own attention comes back at the end.

    Raises `PackingUnsupportedError` for an architecture that does not look its attention up by name. Backward passes that
    recompute activations (gradient checkpointing) belong inside too.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
    own = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    if model.config._attn_implementation != NAME:  # transformers only logs a warning
        model.set_attn_implementation(own)  # of a part of the model, which may let it be replaced
        raise PackingUnsupportedError(
            f"{type(model).__name__} cannot be packed: transformers does not let its attention be replaced"
        )
    try:
        yield
    finally:
        model.set_attn_implementation(own)
