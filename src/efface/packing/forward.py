"""Forward passes of many sequences: last hidden states, and the head where its output is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from efface.packing.attention import ATTENTION_NAME
from efface.packing.chunked_head import score_in_chunks
from efface.packing.packed_batch import PackedBatch

_CHUNK_ELEMENTS = 1 << 26
"""Logits computed at once: 256 MiB in float32. More are computed in chunks and recomputed in the backward pass."""
CHUNK_BYTES = 4 * _CHUNK_ELEMENTS
_CPU_CHUNK_ELEMENTS = 3 << 21
"""The same on a CPU, where more are computed in chunks: 24 MiB. Linux's allocator gives back what takes over 32 MiB as
soon as it is freed, and new pages cost as much time as the logits."""


def unwrap_peft(model: Any) -> Any:
    """Return the transformers model inside a PEFT wrapper, with its adapter still active."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def device_of(model: Any) -> torch.device:
    """Return the device of the model's token embeddings, which is also that of its inputs."""
    device: torch.device = unwrap_peft(model).get_input_embeddings().weight.device
    return device


def backbone_of(model: Any) -> Any:
    """Return the part of a model that computes its last hidden states."""
    inner = unwrap_peft(model)
    # the base_model of Llama 4 is the model itself
    return inner.base_model if inner.base_model is not inner else inner.model


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Switch dropout off; restore the model's mode on exit, also after an error."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def position_limit(model: Any) -> int | None:
    """Return the number of positions of a model, in tokens; None if its config does not set one."""
    return max_positions(unwrap_peft(model).config)


def max_positions(config: Any) -> int | None:
    """Return the same from a model's config alone."""
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(limit) if limit else None


def hidden_states(model: Any, batch: PackedBatch, *, backbone: Callable[..., Tensor] | None = None) -> Tensor:
    """Compute the last hidden states of a packed batch in one forward pass.

    A model that does not support packing reads the sequences in padded batches of similar length. Padding follows each
    sequence, so no token of a causal model attends to it.

    Args:
        model: a causal language model inside `efface.packing.support.packed_or_padded(model)`.
        batch: sequences on the device of the model's inputs.
        backbone: from the backbone's inputs to hidden states [B, L, H] in place of the last ones.

    Returns:
        Hidden states [T, H], one for each token of the packed row.
    """
    compute = backbone or partial(_last_hidden_state, backbone_of(model))
    if unwrap_peft(model).config._attn_implementation != ATTENTION_NAME:
        buckets, plan = batch.layout.padded_rows
        states = [compute(input_ids=batch.input_ids[0, bucket.gather_index], use_cache=False) for bucket in buckets]
        return torch.cat([each.flatten(0, 1) for each in states])[plan.inverse_index]
    return compute(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False, packing=batch.layout)[0]


def _last_hidden_state(backbone: Any, **inputs: Any) -> Tensor:
    states: Tensor = backbone(**inputs).last_hidden_state
    return states


def compute_logits(model: Any, hidden: Tensor) -> Tensor:
    """Apply the model's head, with the logit scaling of its architecture.

    Args:
        model: a causal language model.
        hidden: last hidden states [N, H].

    Returns:
        Logits [N, V] in float32, or in float64 if the head computes in float64.
    """
    inner = unwrap_peft(model)
    return head_logits(inner.get_output_embeddings(), inner.config, hidden)


def head_logits(output_embeddings: Callable[[Tensor], Tensor], config: Any, hidden: Tensor) -> Tensor:
    """Compute the same as `compute_logits` from a model's output embeddings and its config alone.

    Args:
        output_embeddings: from hidden states [N, H] to unscaled logits [N, V].
        config: the model's config.
        hidden: last hidden states [N, H].

    Returns:
        Logits [N, V] in float32, or in float64 if the head computes in float64.
    """
    return scale_logits(output_embeddings(hidden), config)


def scale_logits(logits: Tensor, config: Any) -> Tensor:
    """Scale the output [N, V] of a model's output embeddings as its architecture does, in float32 or float64.

    Args:
        logits: unscaled, [N, V].
        config: the model's config, which has the factors and the soft cap.

    Returns:
        Scaled logits [N, V]; those in float64 stay in it, all others become float32.
    """
    config = config.get_text_config()
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
    """Return the most rows of logits, each of `vocabulary` numbers, that `apply_head` computes at once."""
    return max(1, _CHUNK_ELEMENTS // vocabulary)


def _rows_at_once(hidden: Tensor, vocabulary: int) -> int:
    """How many rows [N, H] are computed at once where not all of them are.

    With gradients not fewer than H: each chunk adds to a gradient as large as the head's weights [V, H].
    """
    most = chunk_rows(vocabulary)
    if hidden.device.type != "cpu":
        return most
    least = hidden.shape[-1] if torch.is_grad_enabled() else 1
    return min(most, max(_CPU_CHUNK_ELEMENTS // vocabulary, least))


def apply_head(model: Any, score: Callable[..., Tensor], hidden: Tensor, *tensors: Tensor) -> Tensor:
    """Apply a function to the logits of hidden states, position by position.

    The full [N, V] logits are never in memory if they are large: each chunk is recomputed in the backward pass.

    Args:
        model: a causal language model.
        score: from logits [n, V] and slices [n, ...] of `tensors` to a result [n, ...].
        hidden: last hidden states [N, H].
        tensors: [N, ...] each, without a gradient.

    Returns:
        The results [N, ...].
    """

    def of_chunk(states: Tensor, *more: Tensor) -> Tensor:
        return score(compute_logits(model, states), *more)

    vocabulary = vocabulary_size(model)
    if hidden.shape[0] <= chunk_rows(vocabulary):
        return of_chunk(hidden, *tensors)
    rows = _rows_at_once(hidden, vocabulary)
    chunks = zip(*(tensor.split(rows) for tensor in (hidden, *tensors)), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([of_chunk(*chunk) for chunk in chunks])
    inner = unwrap_peft(model)
    head = inner.get_output_embeddings()
    if type(head) is nn.Linear:
        return score_in_chunks(
            head, lambda logits, *more: score(scale_logits(logits, inner.config), *more), rows, hidden, *tensors
        )
    return torch.cat([checkpoint(of_chunk, *chunk, use_reentrant=False) for chunk in chunks])


def vocabulary_size(model: Any) -> int:
    """Return V, the number of tokens that the head scores, including padding of the vocabulary."""
    return int(unwrap_peft(model).get_output_embeddings().weight.shape[0])


def target_logprobs(model: Any, hidden: Tensor, targets: Tensor) -> Tensor:
    """Compute natural-log probabilities of tokens under the model's head.

    Args:
        model: a causal language model.
        hidden: last hidden states [N, H].
        targets: the token id [N] that each state should predict.

    Returns:
        Log-probabilities [N].
    """
    return score_targets(model, hidden, targets, cross_entropy_logprobs)


def score_targets(model: Any, hidden: Tensor, targets: Tensor, score: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Compute numbers of tokens from the logits that should predict them.

    Args:
        model: a causal language model.
        hidden: last hidden states [N, H].
        targets: the token id [N] that each state should predict.
        score: from logits [n, V] and token ids [n] to one or more numbers of each token, [n] or [n, C].

    Returns:
        The numbers, [N] or [N, C].
    """
    return apply_head(model, score, hidden, targets)


def cross_entropy_logprobs(logits: Tensor, targets: Tensor) -> Tensor:
    """Natural-log probabilities [n] of tokens [n] under logits [n, V].

    Args:
        logits: [n, V].
        targets: the token id [n] that each row should predict.

    Returns:
        Log-probabilities [n].
    """
    return -F.cross_entropy(logits, targets, reduction="none")
