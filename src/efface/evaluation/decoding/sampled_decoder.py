"""Several random outputs of each prompt, which share the prompt's pass; each has a random generator of its own.

The outputs depend on their seeds alone, not on the batch: a token is the first at which the cumulated probability
exceeds a number drawn for this output and this position.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from efface.evaluation.decoding.greedy_decoder import GrowingBatch, can_decode, grow, transformers_decode
from efface.evaluation.generate import (
    default_generation_config,
    length_batches,
    resolve_max_cache_tokens,
    supports_left_padding,
)
from efface.packing.forward import unwrap_peft
from efface.packing.oom_retry import map_with_oom_backoff


@dataclass(frozen=True)
class Draw:
    """One output to draw."""

    prompt: int
    """Index of its prompt."""
    seed: str
    """Any text; two outputs with the same one are the same."""


@torch.no_grad()
def sample(
    model: Any,
    prompts: Sequence[list[int]],
    draws: Sequence[Draw],
    stop_ids: Sequence[int],
    *,
    temperature: float,
    max_new_tokens: int,
    max_cache_tokens: int | None,
) -> list[list[int]]:
    """Draw outputs from the model's distribution at a temperature, without cutting it (top-p is 1).

    Args:
        model: A causal language model, which may be wrapped by PEFT.
        prompts: Token ids of each prompt.
        draws: The outputs to draw; those of one prompt side by side share its pass.
        stop_ids: Tokens before which an output ends.
        temperature: More than 0; 1 is the model's own distribution.
        max_new_tokens: Most tokens of an output.
        max_cache_tokens: As for `generate_from_ids`.

    Returns:
        The new token ids of each draw, in the order of `draws`.

    Raises:
        EffaceError: The GPU's memory does not hold one prompt and its output.
    """
    inner, padded = unwrap_peft(model), supports_left_padding(model)
    decode: Callable[..., list[list[int]]] = _shared if padded and can_decode(inner) else _each_alone

    def process(batch: list[int]) -> list[list[int]]:
        return decode(
            inner,
            prompts,
            [draws[index] for index in batch],
            stop_ids,
            temperature=temperature,
            max_new_tokens=max_new_tokens,
        )

    def describe(index: int) -> str:
        return f"{len(prompts[draws[index].prompt])} tokens and {max_new_tokens} after them; use device=cpu"

    lengths = [len(prompts[draw.prompt]) for draw in draws]
    batches = length_batches(lengths, max_new_tokens, resolve_max_cache_tokens(model, max_cache_tokens), padded=padded)
    outputs: dict[int, list[int]] = {}
    with default_generation_config(inner):
        for batch, ids in map_with_oom_backoff(batches, process, describe=describe):
            outputs.update(zip(batch, ids, strict=True))
    return [outputs[index] for index in range(len(draws))]


def draw_tokens(logits_BV: Tensor, uniform_B: np.ndarray[Any, Any], temperature: float) -> Tensor:
    """The token of each row at which its cumulated probability first exceeds its number in [0, 1).

    Args:
        logits_BV: In float32.
        uniform_B: A number for each row.
        temperature: Divides the logits.

    Returns:
        Ids [B].
    """
    cumulated_BV = (logits_BV.double() / temperature).softmax(-1).cumsum(-1)
    wanted_B = torch.as_tensor(uniform_B, device=logits_BV.device) * cumulated_BV[:, -1]
    found_B1 = torch.searchsorted(cumulated_BV, wanted_B[:, None], right=True)
    return found_B1[:, 0].clamp(max=logits_BV.shape[1] - 1)


class _Numbers:
    """The random numbers of some draws: one for each and each position."""

    def __init__(self, draws: Sequence[Draw], count: int) -> None:
        self._numbers_DT = np.stack([np.random.default_rng(_seed(draw.seed)).random(count) for draw in draws])

    def at(self, rows: Sequence[int], position: int) -> np.ndarray[Any, Any]:
        numbers: np.ndarray[Any, Any] = self._numbers_DT[list(rows), position]
        return numbers


def _shared(
    model: Any,
    prompts: Sequence[list[int]],
    draws: Sequence[Draw],
    stop_ids: Sequence[int],
    *,
    temperature: float,
    max_new_tokens: int,
) -> list[list[int]]:
    """Each prompt once through the model, then its keys and values for every draw of it."""
    distinct = list(dict.fromkeys(draw.prompt for draw in draws))
    batch, numbers = (
        GrowingBatch(model, [prompts[n] for n in distinct], max_new_tokens),
        _Numbers(draws, max_new_tokens),
    )
    return grow(
        batch,
        [distinct.index(draw.prompt) for draw in draws],
        lambda logits_BV, rows, position: draw_tokens(logits_BV, numbers.at(rows, position), temperature),
        stop_ids=stop_ids,
        max_new_tokens=max_new_tokens,
    )


def _each_alone(
    model: Any,
    prompts: Sequence[list[int]],
    draws: Sequence[Draw],
    stop_ids: Sequence[int],
    *,
    temperature: float,
    max_new_tokens: int,
) -> list[list[int]]:
    """With transformers' `generate`, for models whose rows cannot be copied or removed."""
    given = [prompts[draw.prompt] for draw in draws]
    longest, numbers = max(map(len, given)), _Numbers(draws, max_new_tokens)

    def force(ids_BT: Tensor, scores_BV: Tensor) -> Tensor:
        drawn_B = draw_tokens(scores_BV.float(), numbers.at(range(len(draws)), ids_BT.shape[1] - longest), temperature)
        return torch.full_like(scores_BV, -torch.inf).scatter(1, drawn_B[:, None], 0.0)

    return transformers_decode(model, given, stop_ids=stop_ids, max_new_tokens=max_new_tokens, choose=force)


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
