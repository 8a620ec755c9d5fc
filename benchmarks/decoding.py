#!/usr/bin/env python3
"""Greedy decoding: processor seconds, and changed outputs, of both engines of efface and of transformers' `generate`.

The questions are those of `workload.load_text`, asked in the model's chat template. `generate` gets them sorted by
length, in batches of each size of `--batch`; a batch is computed until its longest answer has ended. efface chooses its
batches itself, and removes answers that have ended from them: the more the lengths of a model's answers differ, the
more it saves. Outputs are compared with those of the first size of `--batch`: with 1, one question at a time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple, get_args

import torch

from efface.evaluation.config import Engine
from efface.evaluation.decoding.greedy_decoder import transformers_decode
from efface.evaluation.generate import default_generation_config, generate_from_ids
from efface.models.load import load_model
from efface.models.tokenizer import load_tokenizer
from efface.text.config import TextConfig
from efface.text.formatter import PromptFormatter
from machine import describe_machine
from workload import load_text

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Outputs = list[list[int]]


class Decoding(NamedTuple):
    """A contender's outputs, and what they took."""

    outputs: Outputs
    seconds: float
    """Of the processor."""


def by_efface(
    model: Any, formatter: PromptFormatter, prompts: Sequence[list[int]], new_tokens: int, *, engine: Engine
) -> Outputs:
    """As in an evaluation."""
    found = generate_from_ids(
        model, formatter, prompts, max_new_tokens=new_tokens, max_cache_tokens=None, engine=engine
    )
    return [each.token_ids for each in found]


def by_transformers(
    model: Any, formatter: PromptFormatter, prompts: Sequence[list[int]], new_tokens: int, *, batch: int
) -> Outputs:
    """By `generate`, in batches of prompts of similar length."""
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    found: dict[int, list[int]] = {}
    with default_generation_config(model), torch.no_grad():
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            outputs = transformers_decode(
                model, [prompts[row] for row in rows], stop_ids=formatter.stop_ids, max_new_tokens=new_tokens
            )
            found.update(zip(rows, outputs, strict=True))
    return [found[index] for index in range(len(prompts))]


def compare(
    folder: Path, *, text_format: str, questions: int, new_tokens: int, batches: Sequence[int], dtype: str
) -> dict[str, Any]:
    """Seconds of each contender, and how many of its outputs differ from those of the first size of `batches`."""
    model = load_model(folder, dtype=_DTYPES[dtype], device=torch.device("cpu")).eval()
    formatter = PromptFormatter(load_tokenizer(folder), TextConfig(format=text_format))
    prompts = formatter.encode_prompts([item.prompt for item in load_text()[0].forget[:questions]])
    contenders: dict[str, Callable[..., Outputs]] = {
        **{f"generate, {batch} at once": partial(by_transformers, batch=batch) for batch in batches},
        **{f"evaluate.engine={engine}": partial(by_efface, engine=engine) for engine in get_args(Engine)},
    }
    by_efface(model, formatter, prompts[:2], 2, engine="efface")  # to warm up
    found = {}
    for name, decode in contenders.items():
        start = time.process_time()
        found[name] = Decoding(decode(model, formatter, prompts, new_tokens), time.process_time() - start)
    reference, *_ = found.values()
    lengths = [len(output) for output in reference.outputs]
    return {
        "answer_tokens": {"mean": mean(lengths), "longest": max(lengths)},
        "contenders": {
            name: {
                "seconds": each.seconds,
                "changed": sum(a != b for a, b in zip(reference.outputs, each.outputs, strict=True)),
            }
            for name, each in found.items()
        },
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="a folder with a model and its tokenizer")
    parser.add_argument("--format", default="chat", help="as text.format (default chat)")
    parser.add_argument("--questions", type=int, default=80, help="(default 80)")
    parser.add_argument("--new-tokens", type=int, default=64, help="most tokens of an answer (default 64)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16, 80], help="of `generate` (default 1 16 80)")
    parser.add_argument("--dtype", choices=_DTYPES, default="float32")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    settings = {"questions": given.questions, "new_tokens": given.new_tokens, "dtype": given.dtype}
    found = compare(given.model, text_format=given.format, batches=given.batch, **settings)
    print(json.dumps({**found, **settings, "threads": 1, **describe_machine("cpu")}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
