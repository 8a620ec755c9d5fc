"""Forwards of many sequences: last hidden states, and the head where it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from efface.packing.attention import NAME
from efface.packing.packed_batch import PackedBatch

_CHUNK_ELEMENTS = 1 << 26
"""Logits computed at once: 256 MiB in float32. More than this is cut and recomputed in the backward pass."""


def unwrap_peft(model: Any) -> Any:
    """The transformers model inside a PEFT wrapper, its adapter still in place."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def device_of(model: Any) -> torch.device:
    """Where the model's token embeddings lie, and so where its inputs go."""
    device: torch.device = unwrap_peft(model).get_input_embeddings().weight.device
    return device


def position_limit(model: Any) -> int | None:
    """How many positions a model has, in tokens, where its config says so."""
    return max_positions(unwrap_peft(model).config)


def max_positions(config: Any) -> int | None:
    """The same of a model's config alone."""
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(limit) if limit else None


def hidden_states(model: Any, batch: PackedBatch) -> Tensor:
    """Last hidden states [T, H] of a packed batch; `model` must be inside `efface.packing.support.packed_or_padded(model)`.

    Where that did not replace its attention, the model reads the sequences padded to rows of like length. What pads
    stands behind each sequence: in a causal model nothing sees it.
    """
    inner = unwrap_peft(model)
    backbone = inner.base_model if inner.base_model is not inner else inner.model  # Llama 4 misnames its own
    if inner.config._attn_implementation != NAME:
        buckets, spread = batch.layout.rows
        rows = [backbone(input_ids=batch.input_ids[0, bucket.gather], use_cache=False) for bucket in buckets]
        return torch.cat([row.last_hidden_state.flatten(0, 1) for row in rows])[spread.back]
    output = backbone(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False, packing=batch.layout)
    states: Tensor = output.last_hidden_state[0]
    return states


def head(model: Any, hidden: Tensor) -> Tensor:
    """Logits [N, V] of hidden states [N, H], in float32 or wider, scaled as the architecture wants."""
    inner = unwrap_peft(model)
    return logits_of(inner.get_output_embeddings(), inner.config, hidden)


def logits_of(output: Callable[[Tensor], Tensor], config: Any, hidden: Tensor) -> Tensor:
    """The same from a model's output embeddings and its config alone."""
    logits, config = output(hidden), config.get_text_config()
    if (scale := getattr(config, "logit_scale", None)) is not None:  # Cohere
        logits = logits * scale
    if (factor := getattr(config, "lm_head_multiplier", None)) is not None:  # Falcon-H1
        logits = logits * factor
    if (scaling := getattr(config, "logits_scaling", None)) is not None:  # Granite
        logits = logits / scaling
    for name in ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap"):  # Gemma, RecurrentGemma, xLSTM
        if (cap := getattr(config, name, None)) is not None:
            logits = cap * torch.tanh(logits / cap)
    return logits if logits.dtype == torch.float64 else logits.float()


def chunk_rows(vocabulary: int) -> int:
    """How many rows `map_in_chunks` turns into logits at once."""
    return max(1, _CHUNK_ELEMENTS // vocabulary)


def map_in_chunks(read: Callable[..., Tensor], vocabulary: int, *rows: Tensor) -> Tensor:
    """Apply `read` to slices of `rows` ([N, ...] each) and join the results [N].

    `read` turns a slice into logits [n, V] and those into [n]. Where N x V is large, no whole [N, V] tensor
    is ever kept: slices are recomputed in the backward pass.
    """
    total = rows[0].shape[0]
    size = chunk_rows(vocabulary)
    if total <= size:
        return read(*rows)
    slices = zip(*(tensor.split(size) for tensor in rows), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([read(*part) for part in slices])
    return torch.cat([checkpoint(read, *part, use_reentrant=False) for part in slices])


def vocabulary_size(model: Any) -> int:
    """K: how many tokens the head scores, padding of the vocabulary included."""
    return int(unwrap_peft(model).get_output_embeddings().weight.shape[0])


def target_logprobs(model: Any, hidden: Tensor, targets: Tensor) -> Tensor:
    """Log-probability [N] of `targets` [N] under the head at `hidden` [N, H]."""

    def read(rows: Tensor, ids: Tensor) -> Tensor:
        return -F.cross_entropy(head(model, rows), ids, reduction="none")

    return map_in_chunks(read, vocabulary_size(model), hidden, targets)
