"""Greedy decoding of many prompts at once, with the outputs that one-by-one decoding gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch

from efface import distributed
from efface.errors import EffaceError
from efface.evaluation.kv_cache import max_cache_tokens_for
from efface.hardware.memory import free_memory
from efface.packing.forward import device_of, position_limit, unwrap_peft
from efface.packing.oom_retry import map_with_oom_backoff
from efface.packing.support import packing_unsupported_reason
from efface.schema import Prompt
from efface.text.formatter import PromptFormatter

_UNBATCHED = {"rwkv"}
"""Types of models that transformers decodes rightly a prompt at a time only: it mixes up the states of several."""


@dataclass(frozen=True)
class Generation:
    """What a model said to one prompt."""

    token_ids: list[int]
    """As generated, without the token that ended it; at most `max_new_tokens`, perhaps none."""
    text: str
    """The ids decoded, special tokens removed, not stripped."""


@torch.no_grad()
def generate(
    model: Any,
    formatter: PromptFormatter,
    questions: Sequence[Prompt],
    *,
    max_new_tokens: int,
    max_cache_tokens: int | None,
    progress: Callable[[int], None] | None = None,
) -> list[Generation]:
    """Answer each question greedily, in input order.

    A row ends at any of `formatter.stop_ids` or after `max_new_tokens`; that bound, the same for every prompt, is
    what keeps a collapsed model finite. `max_cache_tokens`: at most so many tokens have keys and values in memory, rows x
    (longest prompt + `max_new_tokens`); None for what fits. `progress` is told how many questions are done. Several
    processes answer a part each, and get all. Raises `EffaceError` where the longest prompt leaves no room for
    `max_new_tokens`, or the GPU's memory none for one question.
    """
    prompts = formatter.encode_prompts(questions)
    check_position_limit(model, prompts, max_new_tokens)
    told = progress or _ignore

    def answer(mine: list[int]) -> list[list[int]]:
        asked = [prompts[number] for number in mine]

        def others_too(done: int) -> None:
            told(min(done * distributed.world_size(), len(prompts)))

        return _answer(
            model,
            asked,
            formatter.stop_ids,
            max_new_tokens=max_new_tokens,
            max_cache_tokens=max_cache_tokens,
            progress=others_too,
        )

    return [_generation(formatter, ids) for ids in distributed.map_over_ranks(len(prompts), answer)]


def _answer(
    model: Any,
    prompts: Sequence[list[int]],
    stop_ids: tuple[int, ...],
    *,
    max_new_tokens: int,
    max_cache_tokens: int | None,
    progress: Callable[[int], None],
) -> list[list[int]]:
    """The ids generated behind each prompt."""
    outputs: dict[int, list[int]] = {}
    padded = supports_left_padding(model)
    continued = _decoder(unwrap_peft(model), padded=padded)

    def decode(rows: list[int]) -> list[list[int]]:
        return continued(inner, [prompts[row] for row in rows], stop_ids=stop_ids, max_new_tokens=max_new_tokens)

    def named(row: int) -> str:
        return _describe_row(prompts[row], max_new_tokens)

    together = resolve_max_cache_tokens(model, max_cache_tokens)
    groups = length_batches([len(prompt) for prompt in prompts], max_new_tokens, together, padded=padded)
    progress(0)  # before the first batch, too, which may take minutes
    with _default_generation_config(unwrap_peft(model)) as inner:
        for rows, ended in map_with_oom_backoff(groups, decode, describe=named):
            outputs.update(zip(rows, ended, strict=True))
            progress(len(outputs))
    return [outputs[row] for row in range(len(prompts))]


def _ignore(_: int) -> None:
    pass


def _decoder(model: Any, *, padded: bool) -> Callable[..., list[list[int]]]:
    from efface.evaluation import greedy_decoder as decode  # which imports much of transformers

    return decode.greedy_decode if padded and decode.can_decode(model) else _generate


def _describe_row(prompt: list[int], max_new_tokens: int) -> str:
    return (
        f"evaluate.max_new_tokens={max_new_tokens} behind a single prompt of {len(prompt)} tokens, whatever "
        "evaluate.max_cache_tokens is; lower evaluate.max_new_tokens, use a smaller model or device=cpu"
    )


def check_position_limit(model: Any, prompts: Sequence[list[int]], max_new_tokens: int) -> None:
    """Check that the model has positions for `max_new_tokens` behind every prompt. Raises `EffaceError`."""
    positions, longest_prompt = position_limit(model), max(map(len, prompts), default=0)
    if positions is not None and longest_prompt + max_new_tokens > positions:
        raise EffaceError(
            f"the longest prompt ({longest_prompt} tokens) and evaluate.max_new_tokens={max_new_tokens} exceed the model's "
            f"{positions} positions; set evaluate.max_new_tokens to {max(positions - longest_prompt, 1)} or less"
        )


def resolve_max_cache_tokens(model: Any, asked: int | None) -> int:
    """The `max_cache_tokens` that `generate` keeps to now, where it is `asked` for so many, or with None for what fits."""
    config, device = unwrap_peft(model).config, device_of(model)
    if config.model_type in _UNBATCHED:
        return 1
    free = free_memory(device)
    return max_cache_tokens_for(asked, config, dtype=unwrap_peft(model).dtype, device_type=device.type, free=free)


@contextmanager
def _default_generation_config(model: Any) -> Iterator[Any]:
    """Switch dropout off, and the model's own generation settings: they add sampling flags and penalties."""
    from transformers import GenerationConfig

    was_training, own_settings = model.training, model.generation_config
    model.eval()
    # None in the config passed to `generate` means "as the model's own config says", so that one must go
    model.generation_config = GenerationConfig()
    try:
        yield model
    finally:
        model.generation_config = own_settings
        model.train(was_training)


def supports_left_padding(model: Any) -> bool:
    """Whether prompts of different lengths may be asked together: not every architecture hides the padding before."""
    return packing_unsupported_reason(model) is None


def length_batches(
    lengths: Sequence[int], max_new_tokens: int, max_cache_tokens: int, *, padded: bool
) -> Iterator[list[int]]:
    """Cut the indices of `lengths` into batches, longest prompts first, so that memory runs out at once or never.

    Unless they may be `padded`, the prompts of a batch are of one length.
    """
    waiting = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    for group in [waiting] if padded else [list(alike) for _, alike in groupby(waiting, key=lengths.__getitem__)]:
        start = 0
        while start < len(group):
            rows = max(1, max_cache_tokens // (lengths[group[start]] + max_new_tokens))
            yield group[start : start + rows]
            start += rows


def _generate(
    model: Any, prompts: Sequence[list[int]], *, stop_ids: Sequence[int], max_new_tokens: int
) -> list[list[int]]:
    """What `greedy` does, by transformers, for any model; all rows are computed until the last has ended."""
    from transformers import GenerationConfig

    width = max(map(len, prompts))
    pad_id = stop_ids[0]  # any valid id: padding is known by its place, and cut off behind a row's end
    ids_BT = torch.tensor([[pad_id] * (width - len(prompt)) + prompt for prompt in prompts])
    mask_BT = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        use_cache=True,
        eos_token_id=list(stop_ids),
        pad_token_id=pad_id,
    )
    grown_BT = model.generate(
        input_ids=ids_BT.to(model.device), attention_mask=mask_BT.to(model.device), generation_config=settings
    )
    return [_cut_at_stop(row, stop_ids) for row in grown_BT[:, width:].tolist()]


def _cut_at_stop(ids: list[int], stop_ids: Sequence[int]) -> list[int]:
    end = next((place for place, id_ in enumerate(ids) if id_ in stop_ids), len(ids))
    return ids[:end]


def _generation(formatter: PromptFormatter, ids: list[int]) -> Generation:
    text = formatter.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Generation(ids, text)
