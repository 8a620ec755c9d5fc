"""Greedy decoding of a batch of prompts: of a batch that shrinks as rows end, or by transformers for any model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, GenerationMixin
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

OnToken = Callable[[float], None]
"""Called with how many rows of a batch are done; a row that has a part of its tokens counts for that part."""
Choose = Callable[[Tensor, Sequence[int], int], Tensor]
_INPUTS = {"input_ids", "attention_mask", "position_ids", "past_key_values", "use_cache", "logits_to_keep"}
_OVERRIDDEN = ("generate", "prepare_inputs_for_generation", "_prepare_cache_for_generation")
"""Methods that models override whose generation is more than a sequence of forward passes."""
_MAX_RUNNING_SHARE = 0.75
"""Removing rows copies the KV cache of all others: it pays once at most this share of the rows is still running."""


def can_decode(model: Any) -> bool:
    """Whether `greedy_decode` gives the same tokens as transformers' `generate` for a model.

    It does where generation is nothing but forward passes with a KV cache from which rows can be removed.

    Args:
        model: A causal language model, not wrapped by PEFT, that supports padding
            (`efface.packing.support.packing_unsupported_reason` is None).
    """
    model_class, mixin = type(model), GenerationMixin
    if any(getattr(model_class, name, None) is not getattr(mixin, name, None) for name in _OVERRIDDEN):
        return False
    if not inspect.signature(model_class.forward).parameters.keys() >= _INPUTS:
        return False
    layers = DynamicCache(config=model.config.get_text_config(decoder=True)).layers
    return {type(layer) for layer in layers} <= {DynamicLayer, DynamicSlidingWindowLayer}


@torch.no_grad()
def greedy_decode(
    model: Any,
    prompts: Sequence[list[int]],
    *,
    stop_ids: Sequence[int],
    max_new_tokens: int,
    progress: OnToken | None = None,
) -> list[list[int]]:
    """Decode greedily; rows that have ended are removed from the batch.

    Args:
        model: A model in evaluation mode that `can_decode` accepts.
        prompts: Token ids of each prompt.
        stop_ids: Tokens before which a row ends.
        max_new_tokens: Most tokens of an output.
        progress: Called after each token.

    Returns:
        The new token ids of each prompt, in the same order, without the stop token.
    """
    batch = GrowingBatch(model, prompts, max_new_tokens)
    return grow(
        batch,
        range(len(prompts)),
        lambda logits_BV, _rows, _position: logits_BV.argmax(-1),
        stop_ids=stop_ids,
        max_new_tokens=max_new_tokens,
        progress=progress,
    )


def grow(
    batch: GrowingBatch,
    prompts: Sequence[int],
    choose: Choose,
    *,
    stop_ids: Sequence[int],
    max_new_tokens: int,
    progress: OnToken | None = None,
) -> list[list[int]]:
    """Continue the prompts of a batch; outputs that have ended are removed from it.

    Args:
        batch: With every prompt once, before its first forward pass.
        prompts: For each output, the prompt in the batch that it continues.
        choose: From the logits [B, V], the outputs that these rows are of, and the position in the outputs to ids [B].
        stop_ids: Tokens before which an output ends.
        max_new_tokens: Most tokens of an output.
        progress: Called after each token.

    Returns:
        The new token ids of each output, without the stop token.
    """
    outputs: list[list[int]] = [[] for _ in prompts]
    rows, running = list(range(len(prompts))), set(range(len(prompts)))
    with getattr(batch.model, "_optimize_model_for_decode", nullcontext)():  # of mixtures of experts on a GPU
        for position in range(max_new_tokens):
            logits_BV = batch.logits()
            if position == 0 and list(prompts) != rows:  # outputs of one prompt share its forward pass
                logits_BV = logits_BV[torch.tensor(prompts, device=logits_BV.device)]
                batch.select(prompts)
            for row, id_ in zip(rows, batch.append(choose(logits_BV, rows, position)), strict=True):
                if row in running and id_ in stop_ids:
                    running.discard(row)
                elif row in running:
                    outputs[row].append(id_)
            if progress is not None:
                progress(len(prompts) - len(running) * (1 - (position + 1) / max_new_tokens))
            if not running:
                break
            if len(running) <= _MAX_RUNNING_SHARE * len(rows):
                batch.select([index for index, row in enumerate(rows) if row in running])
                rows = [row for row in rows if row in running]
    return outputs


def transformers_decode(
    model: Any,
    prompts: Sequence[list[int]],
    *,
    stop_ids: Sequence[int],
    max_new_tokens: int,
    choose: Callable[[Tensor, Tensor], Tensor] | None = None,
    progress: OnToken | None = None,
) -> list[list[int]]:
    """Decode greedily with transformers' `generate`; all rows are computed until the last has ended.

    Args:
        model: Any causal language model, in evaluation mode. Its `generation_config` must be the default one:
            `generate` takes from it every setting that it is not given.
        prompts: Token ids of each prompt; of the same length unless the model supports padding.
        stop_ids: Tokens before which a row ends; at least one.
        max_new_tokens: Most tokens of an output.
        choose: From all ids [B, T] and scores [B, V] to scores whose largest is the next token; None to take those of
            the model.
        progress: Called after each token.

    Returns:
        The new token ids of each prompt, in the same order, without the stop token.
    """
    pad_id = stop_ids[0]  # any valid id: the mask hides it in the prompt, and outputs are cut at it
    ids_BT, mask_BT = _left_pad(prompts, pad_id)
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        use_cache=True,
        eos_token_id=list(stop_ids),
        pad_token_id=pad_id,
    )
    sequences_BT = model.generate(
        input_ids=ids_BT.to(model.device),
        attention_mask=mask_BT.to(model.device),
        generation_config=settings,
        logits_processor=[] if choose is None else [choose],
        stopping_criteria=None if progress is None else [_Reporting(progress, ids_BT.shape[1], max_new_tokens)],
    )
    return [_cut_at_stop(ids, stop_ids) for ids in sequences_BT[:, ids_BT.shape[1] :].tolist()]


class _Reporting:
    """A stopping criterion that never stops: transformers calls it after each token."""

    def __init__(self, progress: OnToken, prompt_length: int, max_new_tokens: int) -> None:
        self.progress, self.prompt_length, self.max_new_tokens = progress, prompt_length, max_new_tokens

    def __call__(self, ids_BT: Tensor, *_: Any, **__: Any) -> Tensor:
        self.progress(len(ids_BT) * (ids_BT.shape[1] - self.prompt_length) / self.max_new_tokens)
        return torch.zeros(len(ids_BT), dtype=torch.bool, device=ids_BT.device)


def _cut_at_stop(ids: list[int], stop_ids: Sequence[int]) -> list[int]:
    end = next((index for index, id_ in enumerate(ids) if id_ in stop_ids), len(ids))
    return ids[:end]


def _left_pad(prompts: Sequence[list[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask [B, T] of the longest prompt's length T."""
    longest = max(map(len, prompts))
    ids_BT = torch.tensor([[pad_id] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask_BT = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    return ids_BT, mask_BT


class GrowingBatch:
    """Left-padded sequences that grow by one token per step."""

    def __init__(self, model: Any, prompts: Sequence[list[int]], max_new_tokens: int) -> None:
        """Take the prompts; nothing is computed yet.

        Args:
            model: As for `greedy_decode`.
            prompts: Token ids of each prompt.
            max_new_tokens: Most tokens of an output.
        """
        ids, mask = _left_pad(prompts, pad_id=0)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        mask = F.pad(mask, (0, max_new_tokens), value=1)
        self.model, self.length = model, ids.shape[1]
        self.ids, self.mask, self.positions = (each.to(model.device) for each in (ids, mask, positions))
        self.cache = _kv_cache(model, self.length + max_new_tokens)

    def logits(self) -> Tensor:
        """Logits [B, V] of the next token of each row, in float32."""
        logits: Tensor = self.model(
            input_ids=self.ids,
            attention_mask=self.mask[:, : self.length],
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        return logits[:, -1].float()

    def append(self, next_B: Tensor) -> list[int]:
        """Append a token to each row and return these tokens."""
        self.ids, self.positions, self.length = next_B[:, None], self.positions[:, -1:] + 1, self.length + 1
        ids: list[int] = next_B.tolist()
        return ids

    def select(self, indices: Sequence[int]) -> None:
        """Keep these rows and no others; an index may occur more than once."""
        selected = torch.tensor(indices, device=self.ids.device)
        self.ids, self.mask, self.positions = self.ids[selected], self.mask[selected], self.positions[selected]
        self.cache.batch_select_indices(selected)


def _kv_cache(model: Any, capacity: int) -> Any:
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    cache.layers = [_PreallocatedLayer(capacity) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class _PreallocatedLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values [B, H, T, D], allocated once for all T tokens of prompt and output.

    The layer of transformers is copied for every token: a third of the time of 40 rows of SmolLM2-135M on a CPU.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity, self.length = capacity, 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values [B, H, new, D] and return all that are stored, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = (
                new.new_empty(*new.shape[:2], self.capacity, new.shape[3]) for new in (key_states, value_states)
            )
        start, self.length = self.length, self.length + key_states.shape[2]
        self.keys[:, :, start : self.length] = key_states
        self.values[:, :, start : self.length] = value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def get_seq_length(self) -> int:
        """Number of tokens that are stored."""
        return self.length
