"""Whether a model can be packed: only if its logits then equal those of each sequence alone; else it is padded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor

from efface.errors import EffaceError, summarize_error
from efface.packing.attention import PackingUnsupportedError, packed_attention_enabled
from efface.packing.forward import (
    compute_logits,
    device_of,
    evaluation_mode,
    hidden_states,
    unwrap_peft,
    vocabulary_size,
)
from efface.packing.packed_batch import pack
from efface.text.sequence import TokenizedSequence

_PACKABLE_LAYERS = {"full_attention", "sliding_attention"}
_WINDOW_IN_MASK = {"phimoe", "qwen2_moe"}
"""Model types that pass a sliding window only inside the attention mask, which packing replaces."""

_known: dict[tuple[object, ...], str | None] = {}
"""`packing_unsupported_reason` by architecture, config and how it computes: it does not depend on the weights."""
_configs: WeakKeyDictionary[torch.nn.Module, str] = WeakKeyDictionary()
"""The config of each model as JSON, which takes longer to write than the rest of the question, twice in each step."""
_sharded: WeakSet[torch.nn.Module] = WeakSet()
"""Models that can be packed, and that can no longer be checked."""


@contextmanager
def packed_or_padded(model: Any) -> Iterator[None]:
    """Prepare `model` for `hidden_states` of many sequences: packed if it supports it, else padded.

    Backward passes that recompute activations (gradient checkpointing) must run inside this context too.

    Raises:
        EffaceError: as `packing_unsupported_reason`.
    """
    if packing_unsupported_reason(model) is not None:
        yield
        return
    with packed_attention_enabled(unwrap_peft(model)):
        yield


def packing_unsupported_reason(model: Any) -> str | None:
    """Say why the model's sequences are padded; None if they are packed.

    The check runs once for each architecture, config, device, dtype and autocast, on 26 tokens: each may have another
    kernel. So call it in the context of the forward passes that it is for.

    Args:
        model: a causal language model, possibly inside PEFT.

    Raises:
        EffaceError: neither packing nor padding gives the logits that the model gives for one sequence at a time: it
            is not a causal language model, or scales its logits in an unknown way; or its logits are not finite.
    """
    inner = unwrap_peft(model)
    if inner in _sharded:
        return None
    if inner not in _configs:
        _configs[inner] = inner.config.to_json_string()
    key = (type(inner), _configs[inner], *_computation(inner))
    if key not in _known:
        _known[key] = check_packing(inner)
    return _known[key]


def mark_as_packable(model: Any) -> None:
    """Remember that a model can be packed: once it is sharded, it can no longer be checked."""
    _sharded.add(unwrap_peft(model))


def _computation(model: Any) -> tuple[object, ...]:
    """What decides which kernels compute: device, dtype, and autocast."""
    device = device_of(model)
    autocast = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    return device.type, capability, model.dtype, autocast


def check_packing(model: Any) -> str | None:
    """Run the check of `packing_unsupported_reason` on this model, without the cache.

    Args:
        model: a causal language model that is not wrapped by PEFT.

    Raises:
        EffaceError: as `packing_unsupported_reason`.
    """
    with evaluation_mode(model):
        expected = _logits_one_by_one(model)
        if not expected.isfinite().all():
            raise EffaceError(
                f"{model.config.name_or_path or type(model).__name__}: its logits are not finite, as after a training "
                "that diverged or with damaged weights; give another model"
            )
        try:
            _check_packed(model, expected)
        except PackingUnsupportedError as error:
            _check_padded(model, expected)
            return str(error)
        return None


def _check_packed(model: Any, expected: Tensor) -> None:
    """Raise `PackingUnsupportedError` for unknown types of layers, and if packing changes the logits."""
    name, config = type(model).__name__, model.config.get_text_config()
    # by name, not only by their logits: 26 tokens cannot show what happens in chunks of thousands
    if unknown := set(getattr(config, "layer_types", None) or ()) - _PACKABLE_LAYERS:
        raise PackingUnsupportedError(f"{name} cannot be packed: it has layers of {', '.join(sorted(unknown))}")
    if config.model_type in _WINDOW_IN_MASK and getattr(config, "sliding_window", None):
        raise PackingUnsupportedError(f"{name} cannot be packed: it hides its sliding window in a mask")
    try:
        with packed_attention_enabled(model):
            logits = _logits_together(model)
    except (PackingUnsupportedError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # the model's code, which was not written for packed input
        raise PackingUnsupportedError(f"{name} cannot be packed ({summarize_error(error)})") from error
    if (difference := _difference(model, expected, logits)) is not None:
        raise PackingUnsupportedError(f"{name} cannot be packed: its logits differ by {difference:.2g} when packed")


def _check_padded(model: Any, expected: Tensor) -> None:
    name = type(model).__name__
    remedy = "choose a causal language model of another architecture"
    try:
        logits = _logits_together(model)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the model's code, called in an unusual way
        raise EffaceError(
            f"{name} cannot be used: its backbone and head fail if called separately ({summarize_error(error)}); "
            f"{remedy}"
        ) from error
    if (difference := _difference(model, expected, logits)) is not None:
        raise EffaceError(
            f"{name} cannot be used: its logits differ by {difference:.2g} from those of its backbone and head for "
            f"sequences with padding after them; {remedy}"
        )


def _difference(model: Any, expected: Tensor, logits: Tensor) -> float | None:
    """The largest difference of the logits, if it is larger than rounding error or NaN; else None."""
    # half precision rounds differently from kernel to kernel; a leak between sequences is far larger
    exact = {model.dtype, expected.dtype} <= {torch.float32, torch.float64} and not _quantizes_activations(model)
    largest = float((expected - logits).abs().max())
    return None if largest <= (1e-4 if exact else 0.1) * float(expected.abs().max()) else largest


def _quantizes_activations(model: Any) -> bool:
    """LLM.int8 multiplies in half precision and chooses what it quantizes by the whole batch."""
    return getattr(model, "is_loaded_in_8bit", False) is True


def _probe_sequences(model: Any) -> list[list[int]]:
    """Three short sequences from the middle of the vocabulary; the last shares a prefix with the first.

    The first ids are often special tokens, whose logits are imprecise in half precision.
    """
    start = vocabulary_size(model) // 3
    first, second = list(range(start, start + 5)), list(range(start + 5, start + 14))
    return [first, second, [*first[:3], *second[::-1]]]


@torch.no_grad()
def _logits_one_by_one(model: Any) -> Tensor:
    """Logits [T, V] of the probe sequences, each alone."""
    device = device_of(model)
    return torch.cat(
        [model(torch.tensor([ids], device=device), use_cache=False).logits[0] for ids in _probe_sequences(model)]
    )


@torch.no_grad()
def _logits_together(model: Any) -> Tensor:
    """The same of all sequences at once: packed inside `packed_attention_enabled(model)`, else padded."""
    items = [TokenizedSequence(str(number), ids[:2], ids[2:]) for number, ids in enumerate(_probe_sequences(model))]
    batch = pack(items, device_of(model))
    return compute_logits(model, hidden_states(model, batch)[list(chain(*batch.token_indices))])
