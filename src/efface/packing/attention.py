"""Attention within each sequence of a packed row, registered with transformers as `efface_packed`.

On CUDA in half precision it is torch's variable-length flash attention. Elsewhere the sequences are gathered into
padded rows of similar length for attention alone: its cost still grows with the number of real tokens, and all other
layers of the model see the packed row. In both cases a token that several sequences share is gathered for each of them.
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
from efface.packing.layout import GatherPlan, Layout, PaddedRows

ATTENTION_NAME = "efface_packed"


class PackingUnsupportedError(EffaceError):
    """The sequences of a model cannot be packed; the message names the model and the reason."""


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packing: Layout | PaddedRows | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal self-attention of packed sequences, with the signature of transformers' `AttentionInterface`.

    It also computes padded rows, whose padding attends to the text, and to which nothing attends.

    Args:
        module: the attention layer, for error messages.
        query: [1, heads, T, width]; keys and values may have fewer heads (grouped queries). Of padded rows,
            [B, heads, L, width].
        key: [1, key heads, T, width].
        value: [1, key heads, T, width].
        attention_mask: must be None; packing replaces the model's mask.
        packing: which tokens each sequence consists of, or which positions of rows are text; `hidden_states` and
            `padded_hidden_states` pass it through the model.
        scaling: factor of the scores; by default 1 / sqrt(width).
        dropout: probability of dropping an attention weight.
        sliding_window: how many of the last tokens, including itself, a token attends to.
        softcap: bound of the scores (Gemma 2).
        s_aux: scores of attention sinks [heads] (GPT-OSS).

    Returns:
        Attention outputs [1, T, heads, width], and None for the attention weights.

    Raises:
        PackingUnsupportedError: the model passes a mask of its own, whose effect would be lost.
    """
    if packing is None or attention_mask is not None:
        raise PackingUnsupportedError(
            f"{type(module).__name__} cannot be packed: it needs more than causal masking within a sequence"
        )
    # Under autocast, norms of queries and keys with float32 weights return float32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    groups = query.shape[1] // key.shape[1]
    if isinstance(packing, PaddedRows):
        key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
        settings: dict[str, Any] = {"scaling": scaling, "dropout": dropout, "softcap": softcap, "sinks": s_aux}
        text = packing.attention_mask.bool()
        rows = _padded_attention(query, key, value, window=sliding_window or None, text=text, **settings)
        if not packing.padding_attends:
            rows = rows * text[:, None, :, None]
        return rows.transpose(1, 2), None
    window = sliding_window if sliding_window and packing.max_length > sliding_window else None
    plain = softcap is None and s_aux is None and window is None
    flash = plain and dropout == 0.0 and _supports_flash(query, value)
    # [T, heads, width]: tokens are gathered along the first dimension
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    if groups > 1:
        key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    if flash:
        return _varlen(query, key, value, packing, scaling).unsqueeze(0), None
    output = _bucketed(
        query, key, value, packing, scaling=scaling, dropout=dropout, window=window, softcap=softcap, sinks=s_aux
    )
    return output.unsqueeze(0), None


def _bucketed(query: Tensor, key: Tensor, value: Tensor, packing: Layout, **settings: Any) -> Tensor:
    """Attention of padded rows of similar length, bucket by bucket; inputs and output are [T, heads, width]."""
    buckets, plan = packing.padded_rows
    sizes = [bucket.gather_index.numel() for bucket in buckets]
    parts = (_gather(tensor, plan).split(sizes) for tensor in (query, key, value))
    outputs = []
    for bucket, *part in zip(buckets, *parts, strict=True):
        q, k, v = (tensor.unflatten(0, bucket.gather_index.shape).transpose(1, 2) for tensor in part)
        outputs.append(_padded_attention(q, k, v, **settings).transpose(1, 2).flatten(0, 1))
    return _gather_back(torch.cat(outputs), plan)


class _Gather(torch.autograd.Function):
    """From packed tokens [T, ...] to slots [P, ...], where each sequence is complete.

    The backward pass of plain indexing adds the gradients of each token one after another, a quarter of the time of a
    step on a CPU, and in nondeterministic order on a GPU. This one sums over the slots of each token. Padding slots
    have no gradient: no other slot attends to them, and their outputs are not used.
    """

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, gather_index: Tensor, slots: Tensor, slot_offsets: Tensor | None) -> Tensor:
        ctx.save_for_backward(slots, slot_offsets)
        return tokens[gather_index]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        slots, slot_offsets = ctx.saved_tensors
        grad = grads[0]
        if slot_offsets is None:
            return grad[slots], None, None, None
        summed = F.embedding_bag(slots, grad.flatten(1).contiguous(), slot_offsets, mode="sum")
        return summed.unflatten(1, grad.shape[1:]), None, None, None


class _GatherBack(torch.autograd.Function):
    """From slots [P, ...] back to packed tokens [T, ...]; `inverse_index` contains no slot twice."""

    @staticmethod
    def forward(ctx: Any, slots: Tensor, inverse_index: Tensor) -> Tensor:
        ctx.save_for_backward(inverse_index)
        ctx.shape = slots.shape
        return slots[inverse_index]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (inverse_index,) = ctx.saved_tensors
        grad = grads[0].new_zeros(ctx.shape)
        grad[inverse_index] = grads[0]
        return grad, None


def _gather(tokens: Tensor, plan: GatherPlan) -> Tensor:
    gathered: Tensor = _Gather.apply(  # type: ignore[no-untyped-call]
        tokens, plan.gather_index, plan.slots, plan.slot_offsets
    )
    return gathered


def _gather_back(slots: Tensor, plan: GatherPlan) -> Tensor:
    tokens: Tensor = _GatherBack.apply(slots, plan.inverse_index)  # type: ignore[no-untyped-call]
    return tokens


def _padded_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scaling: float | None,
    dropout: float,
    window: int | None,
    softcap: float | None,
    sinks: Tensor | None,
    text: Tensor | None = None,
) -> Tensor:
    """Causal attention of right-padded rows [rows, heads, longest, width]; the causal mask also hides the padding.

    `sinks` [heads] are the scores of an additional key in each head, which has no value (GPT-OSS). `text`
    [rows, longest] hides the padding from itself, too, where its outputs are used.
    """
    if window is None and softcap is None and sinks is None and text is None:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=scaling)
    position = torch.arange(q.shape[2], device=q.device)
    distance = position[:, None] - position[None, :]
    visible = distance >= 0 if window is None else (distance >= 0) & (distance < window)
    if text is not None:
        visible = visible & text[:, None, None, :]
    if softcap is None and sinks is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=dropout, scale=scaling)
    scores = q @ k.transpose(2, 3) * (scaling if scaling is not None else q.shape[-1] ** -0.5)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~visible, float("-inf"))
    if sinks is not None:
        scores = torch.cat([scores, sinks.to(scores.dtype)[:, None, None].expand(*scores.shape[:3], 1)], dim=-1)
    weights = F.softmax(scores, dim=-1, dtype=torch.float32)[..., : k.shape[2]].to(q.dtype)
    return F.dropout(weights, dropout) @ v


def _supports_flash(query: Tensor, value: Tensor) -> bool:
    supported = query.dtype in (torch.float16, torch.bfloat16) and query.shape[-1] == value.shape[-1] <= 256
    return query.is_cuda and supported and query.shape[-1] % 8 == 0 and _has_flash(query.device)


@cache
def _has_flash(device: torch.device) -> bool:
    """Whether a GPU is of the Ampere generation or later, for which the kernel is compiled."""
    return torch.cuda.get_device_capability(device) >= (8, 0)


@cache
def _causal_arguments() -> dict[str, Any]:
    """How the installed torch takes causal attention: as a flag in 2.10, as a window in later versions."""
    from torch.nn.attention.varlen import varlen_attn

    flag = "is_causal" in inspect.signature(varlen_attn).parameters
    return {"is_causal": True} if flag else {"window_size": (-1, 0)}


def _varlen(query: Tensor, key: Tensor, value: Tensor, packing: Layout, scaling: float | None) -> Tensor:
    """Variable-length flash attention; inputs and output are [T, heads, width]."""
    from torch.nn.attention.varlen import varlen_attn

    shared = packing.has_shared_tokens
    q, k, v = (
        _gather(tensor, packing.concatenated) if shared else tensor.contiguous() for tensor in (query, key, value)
    )
    offsets, longest = packing.cu_seqlens, packing.max_length
    output = varlen_attn(q, k, v, offsets, offsets, longest, longest, scale=scaling, **_causal_arguments())
    assert isinstance(output, Tensor)
    return _gather_back(output, packing.concatenated) if shared else output


@contextmanager
def packed_attention_enabled(model: Any) -> Iterator[None]:
    """Replace the attention of `model` with `packed_attention`; restore the previous one on exit.

    Backward passes that recompute activations (gradient checkpointing) must run inside this context too.

    Raises:
        PackingUnsupportedError: the architecture does not look its attention up by name.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION_NAME, packed_attention)
    previous = model.config._attn_implementation
    model.set_attn_implementation(ATTENTION_NAME)
    if model.config._attn_implementation != ATTENTION_NAME:  # transformers only logs a warning
        model.set_attn_implementation(previous)  # parts of the model may have been replaced
        raise PackingUnsupportedError(
            f"{type(model).__name__} cannot be packed: transformers does not support replacing its attention"
        )
    try:
        yield
    finally:
        model.set_attn_implementation(previous)
