"""One packed forward: last hidden states, and the head where it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from efface.errors import EffaceError
from efface.text.attention import NAME, packing
from efface.text.packing import Packed, pack
from efface.text.template import Encoded

_CHUNK_ELEMENTS = 1 << 26
"""Logits computed at once: 256 MiB in float32. More than this is cut and recomputed in the backward pass."""


def unwrapped(model: Any) -> Any:
    """The transformers model inside a PEFT wrapper, its adapter still in place."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def device_of(model: Any) -> torch.device:
    """Where the model's token embeddings lie, and so where its inputs go."""
    device: torch.device = unwrapped(model).get_input_embeddings().weight.device
    return device


def position_limit(model: Any) -> int | None:
    """How many positions a model has, in tokens, where its config says so."""
    return positions(unwrapped(model).config)


def positions(config: Any) -> int | None:
    """The same of a model's config alone."""
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(limit) if limit else None


def hidden_states(model: Any, batch: Packed) -> Tensor:
    """Last hidden states [T, H] of a packed batch; `model` must be inside `packing(model)`."""
    inner = unwrapped(model)
    assert inner.config._attn_implementation == NAME, "hidden_states needs `with packing(model)`"
    backbone = inner.base_model
    output = backbone(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False, packing=batch.layout)
    states: Tensor = output.last_hidden_state[0]
    return states


def head(model: Any, hidden: Tensor) -> Tensor:
    """Logits [N, V] of hidden states [N, H], in float32 or wider, scaled as the architecture wants."""
    inner = unwrapped(model)
    logits: Tensor = inner.get_output_embeddings()(hidden)
    config = inner.config.get_text_config()
    if (scale := getattr(config, "logit_scale", None)) is not None:  # Cohere
        logits = logits * scale
    if (scaling := getattr(config, "logits_scaling", None)) is not None:  # Granite
        logits = logits / scaling
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:  # Gemma 2, 3
        logits = cap * torch.tanh(logits / cap)
    return logits if logits.dtype == torch.float64 else logits.float()


def chunk_rows(vocabulary: int) -> int:
    """How many rows `in_chunks` turns into logits at once."""
    return max(1, _CHUNK_ELEMENTS // vocabulary)


def in_chunks(read: Callable[..., Tensor], vocabulary: int, *rows: Tensor) -> Tensor:
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
    return int(unwrapped(model).get_output_embeddings().weight.shape[0])


def target_logprobs(model: Any, hidden: Tensor, targets: Tensor) -> Tensor:
    """Log-probability [N] of `targets` [N] under the head at `hidden` [N, H]."""

    def read(rows: Tensor, ids: Tensor) -> Tensor:
        return -F.cross_entropy(head(model, rows), ids, reduction="none")

    return in_chunks(read, vocabulary_size(model), hidden, targets)


def check_packing(model: Any) -> None:
    """Compare a packed forward with the model's own, on a dozen tokens.

    Raises `EffaceError` where they differ: an architecture that mixes tokens outside of attention, scales its
    logits in a way unknown here, or ignores position ids. Better no result than a wrong one.
    """
    inner = unwrapped(model)
    kinds = getattr(inner.config.get_text_config(), "layer_types", None) or ()
    # named, not only measured: a dozen tokens cannot show what happens in chunks of thousands
    if unknown := set(kinds) - {"full_attention", "sliding_attention"}:
        raise EffaceError(
            f"{type(inner).__name__} cannot be packed: its layers use {', '.join(sorted(unknown))}, and only full and "
            "sliding attention are known here; choose a model of another architecture"
        )
    own, ours = _two_forwards(model)
    # half precision rounds differently from kernel to kernel; a leak between sequences is far larger
    exact = {inner.dtype, own.dtype} <= {torch.float32, torch.float64} and not _rounds_inputs(inner)
    largest = float((own - ours).abs().max())
    if not largest <= (1e-4 if exact else 0.1) * float(own.abs().max()):
        raise EffaceError(
            f"packed and separate forwards of {type(inner).__name__} differ by {largest:.2g}; this architecture is "
            "not supported yet: please report it"
        )


def _rounds_inputs(model: Any) -> bool:
    """LLM.int8 multiplies in half precision and chooses by all of a batch what to round."""
    return getattr(model, "is_loaded_in_8bit", False) is True


@torch.no_grad()
def _two_forwards(model: Any) -> tuple[Tensor, Tensor]:
    """Logits of two short sequences, each alone in the model's own forward, and packed."""
    inner = unwrapped(model)
    device = device_of(model)
    # Ids in the middle of the vocabulary: the first are often special tokens, whose logits half precision blurs.
    start = vocabulary_size(model) // 3
    ids = [list(range(start, start + 5)), list(range(start + 5, start + 14))]
    items = [Encoded(str(n), row[:2], row[2:]) for n, row in enumerate(ids)]
    was_training = model.training
    model.eval()
    try:
        own = torch.cat([inner(torch.tensor([row], device=device), use_cache=False).logits[0] for row in ids])
        with packing(inner):
            return own, head(model, hidden_states(model, pack(items, device)))
    finally:
        model.train(was_training)
