"""Greedy decoding of many prompts in batches, with the same outputs as decoding them one by one."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import torch

from efface import distributed
from efface.evaluation.config import Engine
from efface.evaluation.decoding.kv_cache import max_cache_tokens_for
from efface.evaluation.encode import check_position_limit
from efface.evaluation.journal import Journal
from efface.hardware.memory import free_memory
from efface.main_process import from_main_process, map_over_ranks
from efface.packing.forward import device_of, unwrap_peft
from efface.packing.oom_retry import map_with_oom_backoff
from efface.packing.support import packing_unsupported_reason
from efface.schema import Prompt
from efface.text.formatter import PromptFormatter

_UNBATCHED = {"rwkv"}
"""Model types that transformers decodes correctly only one prompt at a time: it mixes up the states of several."""

_PAGED = 512
"""Prompts of a call of transformers' continuous batching, after which outputs are in the journal."""
_JOURNALED = "outputs"
"""The kind of these results in a journal."""


@dataclass(frozen=True)
class Generation:
    """A model's output for one prompt."""

    token_ids: list[int]
    """As generated, without the stop token; at most `max_new_tokens`, possibly none."""
    text: str
    """The ids decoded, special tokens removed, not stripped."""


def generate(
    model: Any,
    formatter: PromptFormatter,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    max_cache_tokens: int | None,
    progress: Callable[[float], None] | None = None,
) -> list[Generation]:
    """Encode prompts and decode each greedily. With several processes, each decodes a part, and all get all outputs.

    Args:
        model: A causal language model, which may be wrapped by PEFT.
        formatter: Its tokenizer, prompt format and stop tokens.
        prompts: What precedes each answer, before the format is applied.
        max_new_tokens: Most tokens of an output.
        max_cache_tokens: Most tokens in the KV cache; None for as many as fit into memory.
        progress: Called after each token with how many prompts are done, started ones in part.

    Returns:
        The output for each prompt, in the same order.

    Raises:
        EffaceError: When the chat template does not accept a prompt, the longest prompt leaves no positions for
            `max_new_tokens`, or the GPU's memory does not hold one prompt.
    """
    encoded = formatter.encode_prompts(prompts)
    check_position_limit(model, encoded, max_new_tokens)
    report = progress or _ignore

    def decode(indices: list[int]) -> list[Generation]:
        return generate_from_ids(
            model,
            formatter,
            [encoded[index] for index in indices],
            max_new_tokens=max_new_tokens,
            max_cache_tokens=max_cache_tokens,
            progress=lambda done: report(min(done * distributed.world_size(), len(encoded))),
        )

    generations = map_over_ranks(len(encoded), decode)
    return from_main_process(lambda: generations)


@torch.no_grad()
def generate_from_ids(
    model: Any,
    formatter: PromptFormatter,
    prompts: Sequence[list[int]],
    *,
    max_new_tokens: int,
    max_cache_tokens: int | None,
    engine: Engine = "efface",
    progress: Callable[[float], None] | None = None,
    journal: Journal | None = None,
) -> list[Generation]:
    """Decode greedily, in this process alone.

    Args:
        model: A causal language model, which may be wrapped by PEFT.
        formatter: Its tokenizer and stop tokens.
        prompts: Token ids of each prompt; they fit into the model's positions (`check_position_limit`).
        max_new_tokens: Most tokens of an output, the same for every prompt, so that a collapsed model ends, too.
        max_cache_tokens: Most tokens in the KV cache, batch size x (longest prompt + `max_new_tokens`); None for as
            many as fit into memory.
        engine: What generates.
        progress: Called after each token with how many prompts are done, started ones in part.
        journal: Has outputs from before a kill, and gets those of each batch.

    Returns:
        The output for each prompt, in the same order.

    Raises:
        EffaceError: When the GPU's memory does not hold one prompt and its output.
    """
    decoded = _decode_in_batches(
        model,
        prompts,
        formatter.stop_ids,
        max_new_tokens=max_new_tokens,
        max_cache_tokens=max_cache_tokens,
        engine=engine,
        progress=progress or _ignore,
        journal=journal,
    )
    return [_generation(formatter, ids) for ids in decoded]


def resolve_max_cache_tokens(model: Any, setting: int | None) -> int:
    """Resolve `evaluate.max_cache_tokens` for a loaded model.

    Args:
        model: A causal language model on its device.
        setting: The setting; None for as many as fit into the free memory.

    Returns:
        Most tokens in the KV cache.
    """
    config, device = unwrap_peft(model).config, device_of(model)
    if config.model_type in _UNBATCHED:
        return 1
    free = free_memory(device)
    return max_cache_tokens_for(setting, config, dtype=unwrap_peft(model).dtype, device_type=device.type, free=free)


def supports_left_padding(model: Any) -> bool:
    """Whether a batch may have prompts of different lengths: some architectures do not mask padding before a prompt."""
    return packing_unsupported_reason(model) is None


def length_batches(
    lengths: Sequence[int], max_new_tokens: int, max_cache_tokens: int, *, padded: bool
) -> Iterator[list[int]]:
    """Group prompts into batches, longest prompts first, so that memory runs out in the first batch or never.

    Args:
        lengths: Tokens of each prompt.
        max_new_tokens: Most tokens of an output.
        max_cache_tokens: Most tokens in the KV cache; a single prompt may exceed them.
        padded: Whether a batch may have prompts of different lengths.

    Yields:
        Indices into `lengths` of each batch.
    """
    longest_first = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    by_length = [list(group) for _, group in groupby(longest_first, key=lengths.__getitem__)]
    for group in [longest_first] if padded else by_length:
        start = 0
        while start < len(group):
            batch_size = max(1, max_cache_tokens // (lengths[group[start]] + max_new_tokens))
            yield group[start : start + batch_size]
            start += batch_size


def _decode_in_batches(
    model: Any,
    prompts: Sequence[list[int]],
    stop_ids: tuple[int, ...],
    *,
    max_new_tokens: int,
    max_cache_tokens: int | None,
    engine: Engine,
    progress: Callable[[float], None],
    journal: Journal | None,
) -> list[list[int]]:
    """The new token ids of each prompt."""
    keys = [_content_key(prompt, max_new_tokens) for prompt in prompts]
    known = {} if journal is None else journal.known(_JOURNALED)
    padded, cache_tokens = supports_left_padding(model), resolve_max_cache_tokens(model, max_cache_tokens)
    decoder = _decoder(unwrap_peft(model), engine, padded=padded, cache_tokens=cache_tokens)

    def decode(batch: list[int]) -> list[list[int]]:
        return decoder(
            inner,
            [prompts[index] for index in batch],
            stop_ids=stop_ids,
            max_new_tokens=max_new_tokens,
            progress=lambda done: progress(len(outputs) + done),
        )

    def describe(index: int) -> str:
        return _describe_prompt(prompts[index], max_new_tokens)

    outputs: dict[int, list[int]] = {}
    new = []
    for batch in _batches([len(prompt) for prompt in prompts], engine, max_new_tokens, cache_tokens, padded=padded):
        if all(keys[index] in known for index in batch):
            outputs.update({index: known[keys[index]] for index in batch})
        else:
            new.append(batch)
    progress(len(outputs))
    with default_generation_config(unwrap_peft(model)) as inner:
        for batch, ids in map_with_oom_backoff(new, decode, describe=describe):
            outputs.update(zip(batch, ids, strict=True))
            if journal is not None:
                journal.add(_JOURNALED, {keys[index]: each for index, each in zip(batch, ids, strict=True)})
            progress(len(outputs))
    return [outputs[index] for index in range(len(prompts))]


def _batches(
    lengths: Sequence[int], engine: Engine, max_new_tokens: int, cache_tokens: int, *, padded: bool
) -> Iterator[list[int]]:
    """The prompts of each call of a decoder."""
    if engine == "efface":
        return length_batches(lengths, max_new_tokens, cache_tokens, padded=padded)
    return (list(range(start, min(start + _PAGED, len(lengths)))) for start in range(0, len(lengths), _PAGED))


def _decoder(model: Any, engine: Engine, *, padded: bool, cache_tokens: int) -> Callable[..., list[list[int]]]:
    if engine == "transformers":
        from efface.evaluation.decoding.paged_decoder import paged_decode

        return partial(paged_decode, max_cache_tokens=cache_tokens)
    from efface.evaluation.decoding import greedy_decoder  # imports much of transformers

    if padded and greedy_decoder.can_decode(model):
        return greedy_decoder.greedy_decode
    return greedy_decoder.transformers_decode


@contextmanager
def default_generation_config(model: Any) -> Iterator[Any]:
    """Switch off dropout and the model's generation settings, which add sampling flags and penalties."""
    from transformers import GenerationConfig

    was_training, own_settings = model.training, model.generation_config
    model.eval()
    # `generate` takes every setting that is None in the config it is given from the model's config
    model.generation_config = GenerationConfig()
    try:
        yield model
    finally:
        model.generation_config = own_settings
        model.train(was_training)


def _content_key(prompt: list[int], max_new_tokens: int) -> str:
    return hashlib.sha256(array("q", [max_new_tokens, *prompt]).tobytes()).hexdigest()


def _describe_prompt(prompt: list[int], max_new_tokens: int) -> str:
    return (
        f"evaluate.max_new_tokens={max_new_tokens} after a single prompt of {len(prompt)} tokens, whatever "
        "evaluate.max_cache_tokens is; lower evaluate.max_new_tokens, use a smaller model or device=cpu"
    )


def _generation(formatter: PromptFormatter, ids: list[int]) -> Generation:
    text = formatter.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Generation(ids, text)


def _ignore(_: float) -> None:
    pass
