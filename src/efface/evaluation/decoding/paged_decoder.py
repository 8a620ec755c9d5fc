"""Greedy decoding by transformers' continuous batching: rows that end make room for prompts that wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from efface.errors import EffaceError, first_line
from efface.evaluation.decoding.greedy_decoder import OnToken
from efface.packing.support import packing_unsupported_reason

_PAGE = 256
"""Tokens of a page of the KV cache."""
_TOKENS_AT_ONCE = 4096
"""Most tokens of one forward pass: prompts are read beside rows that are being generated."""


def paged_decode(
    model: Any,
    prompts: Sequence[list[int]],
    *,
    stop_ids: Sequence[int],
    max_new_tokens: int,
    max_cache_tokens: int,
    progress: OnToken,
) -> list[list[int]]:
    """Decode greedily with a KV cache in pages, which rows of different lengths share.

    In half precision, the numbers of a row depend on what else is computed, as in any batch: nearly equal logits may be
    decided differently from one prompt at a time.

    Args:
        model: A model of transformers in evaluation mode, not wrapped by PEFT and not sharded.
        prompts: Token ids of each prompt.
        stop_ids: Tokens before which a row ends.
        max_new_tokens: Most tokens of an output.
        max_cache_tokens: Most tokens in the KV cache; the longest prompt has room in any case.
        progress: Called when all rows are done.

    Returns:
        The new tokens of each prompt.

    Raises:
        EffaceError: The model is sharded, its attention cannot be replaced, or the memory is too small.
    """
    from transformers import GenerationConfig
    from transformers.generation import ContinuousBatchingConfig

    if any(hasattr(each, "to_local") for each in model.parameters()):
        raise EffaceError("evaluate.engine=transformers cannot use a sharded model; set evaluate.sharding=none")
    if (reason := packing_unsupported_reason(model)) is not None:  # transformers would generate something else
        raise _failed(model, reason)
    longest = max(map(len, prompts)) + max_new_tokens
    generation = GenerationConfig(
        do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=list(stop_ids), pad_token_id=0
    )
    # by default these would take most of the free memory
    pages = ContinuousBatchingConfig(
        num_blocks=2 + max(max_cache_tokens, longest) // _PAGE, max_batch_tokens=_TOKENS_AT_ONCE
    )
    try:
        found = model.generate_batch(
            list(prompts), generation_config=generation, continuous_batching_config=pages, warmup=False
        )
    except Exception as error:  # the model's code, or an architecture that has no pages
        raise _failed(model, first_line(error)) from error
    # requests are numbered in the order of the prompts
    rows = [found[key] for key in sorted(found, key=lambda key: int(key.rpartition("_")[2]))]
    failed = next((str(row.error) for row in rows if row.error is not None), None)
    if failed is not None or len(rows) != len(prompts):
        raise _failed(model, failed or f"{len(rows)} of {len(prompts)} outputs were made")
    progress(len(prompts))
    return [_before_stop(row.generated_tokens, stop_ids) for row in rows]


def _before_stop(ids: Sequence[int], stop_ids: Sequence[int]) -> list[int]:
    end = next((index for index, each in enumerate(ids) if each in stop_ids), len(ids))
    return list(ids[:end])


def _failed(model: Any, reason: str) -> EffaceError:
    return EffaceError(
        f"evaluate.engine=transformers cannot generate with {type(model).__name__} here ({reason}); leave it out, or "
        "lower evaluate.max_cache_tokens where memory is short"
    )
