"""How a model reads many sequences at once: packed where that gives what the model itself gives, else in rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from efface.errors import EffaceError, summarize_error
from efface.packing.attention import PackingUnsupportedError, packed_attention_enabled
from efface.packing.forward import device_of, head, hidden_states, unwrap_peft, vocabulary_size
from efface.packing.packed_batch import pack
from efface.text.formatter import TokenizedSequence

_PACKED_LAYERS = {"full_attention", "sliding_attention"}
_WINDOW_IN_MASK = {"phimoe", "qwen2_moe"}
"""Types of models that hand a sliding window over only inside of the mask, which packing replaces."""

_known: dict[tuple[type, str], str | None] = {}
"""Architecture and settings -> `packing_unsupported_reason`: weights have no part in it."""


@contextmanager
def packed_or_padded(model: Any) -> Iterator[None]:
    """Let `hidden_states` read many sequences with `model`, packed or in rows.

    Backward passes that recompute activations (gradient checkpointing) belong inside too. Same errors as
    `packing_unsupported_reason`.
    """
    if packing_unsupported_reason(model) is not None:
        yield
        return
    with packed_attention_enabled(unwrap_peft(model)):
        yield


def packing_unsupported_reason(model: Any) -> str | None:
    """Why the model's sequences are padded to rows; None where they are packed.

    Found out once for an architecture and its settings, on some twenty tokens. Raises `EffaceError` where neither way
    gives the logits that the model itself gives to one sequence at a time: it is no causal language model, or scales
    its logits in a way unknown here. Better no result than a wrong one.
    """
    inner = unwrap_peft(model)
    key = (type(inner), inner.config.to_json_string())
    if key not in _known:
        _known[key] = check_packing(inner)
    return _known[key]


def check_packing(model: Any) -> str | None:
    """The same for this very model, whether it was found out before or not; `model` is not inside PEFT."""
    was_training = model.training
    model.eval()
    try:
        own = _reference_logits(model)
        try:
            _check_packed(model, own)
        except PackingUnsupportedError as error:
            _check_rows(model, own)
            return str(error)
        return None
    finally:
        model.train(was_training)


def _check_packed(model: Any, own: Tensor) -> None:
    """Raises `PackingUnsupportedError` for kinds of layers that are not known here, and where packing gives other logits."""
    name, config = type(model).__name__, model.config.get_text_config()
    # named, not only measured: a dozen tokens cannot show what happens in chunks of thousands
    if unknown := set(getattr(config, "layer_types", None) or ()) - _PACKED_LAYERS:
        raise PackingUnsupportedError(f"{name} cannot be packed: it has layers of {', '.join(sorted(unknown))}")
    if config.model_type in _WINDOW_IN_MASK and getattr(config, "sliding_window", None):
        raise PackingUnsupportedError(f"{name} cannot be packed: it hides its sliding window in a mask")
    try:
        with packed_attention_enabled(model):
            ours = _packed_logits(model)
    except (PackingUnsupportedError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # the model's own code, which was not made for this
        raise PackingUnsupportedError(f"{name} cannot be packed ({summarize_error(error)})") from error
    if (gap := _gap(model, own, ours)) is not None:
        raise PackingUnsupportedError(f"{name} cannot be packed: its logits differ by {gap:.2g} then")


def _check_rows(model: Any, own: Tensor) -> None:
    name = type(model).__name__
    remedy = "choose a causal language model of another architecture"
    try:
        ours = _packed_logits(model)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # as above
        raise EffaceError(
            f"{name} cannot be used: its backbone or head fails alone ({summarize_error(error)}); {remedy}"
        ) from error
    if (gap := _gap(model, own, ours)) is not None:
        raise EffaceError(
            f"{name} cannot be used: its logits differ by {gap:.2g} from those of its backbone and head for sequences "
            f"with padding behind them; {remedy}"
        )


def _gap(model: Any, own: Tensor, ours: Tensor) -> float | None:
    """How far the logits lie apart, if that is more than rounding; NaN counts as far."""
    # half precision rounds differently from kernel to kernel; a leak between sequences is far larger
    exact = {model.dtype, own.dtype} <= {torch.float32, torch.float64} and not _quantizes_inputs(model)
    largest = float((own - ours).abs().max())
    return None if largest <= (1e-4 if exact else 0.1) * float(own.abs().max()) else largest


def _quantizes_inputs(model: Any) -> bool:
    """LLM.int8 multiplies in half precision and chooses by all of a batch what to round."""
    return getattr(model, "is_loaded_in_8bit", False) is True


def _probe(model: Any) -> list[list[int]]:
    """Three short sequences, from the middle of the vocabulary; the last begins as the first one does.

    The first ids are often special tokens, whose logits half precision blurs.
    """
    start = vocabulary_size(model) // 3
    first, second = list(range(start, start + 5)), list(range(start + 5, start + 14))
    return [first, second, [*first[:3], *second[::-1]]]


@torch.no_grad()
def _reference_logits(model: Any) -> Tensor:
    """Logits [T, V] of each sequence of the probe alone."""
    device = device_of(model)
    return torch.cat([model(torch.tensor([row], device=device), use_cache=False).logits[0] for row in _probe(model)])


@torch.no_grad()
def _packed_logits(model: Any) -> Tensor:
    """The same of all sequences at once, packed inside `packed_attention_enabled(model)`, else in rows."""
    items = [TokenizedSequence(str(number), row[:2], row[2:]) for number, row in enumerate(_probe(model))]
    batch = pack(items, device_of(model))
    return head(model, hidden_states(model, batch)[list(chain(*batch.places))])
