"""Greedy decoding of a batch that shrinks: rows that ended, or run in a loop, are computed no further."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache, GenerationMixin
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from efface.packing.forward import vocabulary_size

_INPUTS = {"input_ids", "attention_mask", "position_ids", "past_key_values", "use_cache", "logits_to_keep"}
_OVERRIDDEN = ("generate", "prepare_inputs_for_generation", "_prepare_cache_for_generation")
"""What models override whose generation is more than one forward after the other."""
_LONGEST_PERIOD = 16
_REPEATED = 32
"""Tokens that must equal those a period before, and as many must be left to come."""
_LOOKED_EVERY = 8
"""Tokens between two looks for loops."""
_LOGITS_AT_ONCE = 1 << 27
"""Of guesses: 512 MiB in float32."""
_STAYING = 0.75
"""Taking rows out copies the cache of all others: it pays once so few are left that have not ended."""


def can_decode(model: Any) -> bool:
    """Whether `greedy_decode` says what transformers' own `generate` says for `model`, which is not inside PEFT.

    It does where generation is nothing but forwards with a cache of keys and values, from which rows can be taken
    out. Ask only where sequences may be padded (`efface.packing.support.packing_unsupported_reason`).
    """
    kind, own = type(model), GenerationMixin
    if any(getattr(kind, name, None) is not getattr(own, name, None) for name in _OVERRIDDEN):
        return False
    if not inspect.signature(kind.forward).parameters.keys() >= _INPUTS:
        return False
    layers = DynamicCache(config=model.config.get_text_config(decoder=True)).layers
    return {type(layer) for layer in layers} <= {DynamicLayer, DynamicSlidingWindowLayer}


@torch.no_grad()
def greedy_decode(
    model: Any, prompts: Sequence[list[int]], *, stop_ids: Sequence[int], max_new_tokens: int
) -> list[list[int]]:
    """The most likely continuation of each prompt, token by token, in the order of `prompts`.

    `model` must be in evaluation mode and one that `can_decode` accepts. A row ends before any of `stop_ids` or after
    `max_new_tokens`. A model that has lost its language says the same few words up to the limit: on a GPU, where the end of
    a row repeats itself (`period`), the rest is guessed and read in one forward, and the row ends if that is what the
    model says. Nothing makes a loop go on for certain: models whose weights were disturbed left some after 100 rounds.
    """
    said: list[list[int]] = [[] for _ in prompts]
    rows, batch = list(range(len(prompts))), _Batch(model, prompts, max_new_tokens)
    running, guessed, guessing = set(rows), set[int](), _guesses_pay(model)
    with getattr(model, "_optimize_model_for_decode", nullcontext)():  # of mixtures of experts on a GPU
        for step in range(1, max_new_tokens + 1):
            for row, id_ in zip(rows, batch.step(), strict=True):
                if row in running and id_ in stop_ids:
                    running.discard(row)
                elif row in running:
                    said[row].append(id_)
            if guessing and step % _LOOKED_EVERY == 0 and max_new_tokens - step >= _REPEATED:
                guesses = {row: guess for row in running - guessed if (guess := _guess(said[row], max_new_tokens))}
                guessed |= guesses.keys()  # once: what left one loop leaves the next
                for row in _right(model, prompts, guesses, step):
                    said[row] = guesses[row]
                    running.discard(row)
            if not running:
                break
            if len(running) <= _STAYING * len(rows):
                batch.keep([place for place, row in enumerate(rows) if row in running])
                rows = [row for row in rows if row in running]
    return said


def _guesses_pay(model: Any) -> bool:
    """On a CPU, tokens read at once take as long as one after the other in a batch (measured: nothing was saved)."""
    return bool(model.device.type != "cpu")


def _guess(ids: Sequence[int], max_new_tokens: int) -> list[int]:
    """All `max_new_tokens` if the loop at the end of `ids` goes on; nothing where there is none."""
    length = period(ids)
    guess = list(ids) if length else []
    while length and len(guess) < max_new_tokens:
        guess.append(guess[-length])
    return guess


def _right(model: Any, prompts: Sequence[list[int]], guesses: dict[int, list[int]], known: int) -> list[int]:
    """The rows whose guess is what the model says behind the row's prompt, from token `known` of the guess on."""
    right: list[int] = []
    waiting = list(guesses)
    while waiting:
        unsure = len(guesses[waiting[0]]) - known
        size = max(1, _LOGITS_AT_ONCE // (unsure * vocabulary_size(model)))
        rows, waiting = waiting[:size], waiting[size:]
        ids, mask, positions = _left_padded([prompts[row] + guesses[row][:-1] for row in rows])
        best = model(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            position_ids=positions.to(model.device),
            use_cache=False,
            logits_to_keep=unsure,
        ).logits.argmax(-1)
        right += [row for row, said in zip(rows, best.tolist(), strict=True) if said == guesses[row][known:]]
    return right


def period(ids: Sequence[int]) -> int | None:
    """The length of the pattern that the end of `ids` is made of, at most 16; None where it is made of none.

    The last 32 tokens must each be the one a period before.
    """
    end = ids[-_REPEATED:]
    lengths = range(1, min(_LONGEST_PERIOD, len(ids) - _REPEATED) + 1)
    return next((length for length in lengths if ids[-_REPEATED - length : -length] == end), None)


def _left_padded(rows: Sequence[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and positions [rows, longest], padded in front: any valid id does, for the mask hides it."""
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return ids, mask, (mask.cumsum(-1) - 1).clamp(min=0)


class _Batch:
    """Left-padded rows on their way through the model."""

    def __init__(self, model: Any, prompts: Sequence[list[int]], max_new_tokens: int) -> None:
        self.model, self.width = model, max(map(len, prompts))
        ids, mask, positions = _left_padded(prompts)
        mask = F.pad(mask, (0, max_new_tokens), value=1)
        self.ids, self.mask, self.positions = (each.to(model.device) for each in (ids, mask, positions))
        self.cache = _cache(model, self.width + max_new_tokens)

    def step(self) -> list[int]:
        """The next token of each row, which is also put behind it."""
        logits = self.model(
            input_ids=self.ids,
            attention_mask=self.mask[:, : self.width],
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        best = logits[:, -1].float().argmax(-1)
        self.ids, self.positions, self.width = best[:, None], self.positions[:, -1:] + 1, self.width + 1
        chosen: list[int] = best.tolist()
        return chosen

    def keep(self, places: list[int]) -> None:
        """Take all other rows out."""
        kept = torch.tensor(places, device=self.ids.device)
        self.ids, self.mask, self.positions = self.ids[kept], self.mask[kept], self.positions[kept]
        self.cache.batch_select_indices(kept)


def _cache(model: Any, room: int) -> Any:
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    cache.layers = [_PreallocatedLayer(room) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class _PreallocatedLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values [rows, heads, room, width] with room for all that will come.

    The layer of transformers is copied for every token: a third of the time of 40 rows of SmolLM2-135M on a CPU.
    """

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.length = room, 0

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Put keys and values behind those that are there; gives all of them, as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = (
                new.new_empty(*new.shape[:2], self.room, new.shape[3]) for new in (key_states, value_states)
            )
        start, self.length = self.length, self.length + key_states.shape[2]
        self.keys[:, :, start : self.length] = key_states
        self.values[:, :, start : self.length] = value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def get_seq_length(self) -> int:
        """How many tokens are there."""
        return self.length
