#!/usr/bin/env python3
"""How the cost of the packed step scales: with tokens, sequence length, vocabulary, forget set, processes.

    python benchmarks/scaling.py > scaling.jsonl                              # all series, on this machine
    python benchmarks/scaling.py --series tokens vocabulary --shape 1b        # some of them; a GPU for this shape
    python scripts/performance_pictures.py scaling.jsonl                      # store the lines and plot them

Prints one JSON line for each point as soon as it is measured.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import torch

from efface.errors import EffaceError
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.text.sequence import TokenizedSequence
from efface.train.batches.micro_batches import TrainingExample
from forget_run import measure_run
from isolation import measure_in_subprocess, run_in_subprocess
from machine import describe_machine
from measure import PEAK_BYTES_MEANS, Contender, Measured, Setting
from options import positive, step_setting
from record import commit
from several_processes import measure_processes
from shapes import SHAPES
from workload import load_workload

ITEMS = (8, 16, 32, 64, 128, 256)
LENGTHS = (32, 64, 128, 256, 512, 1024)
VOCABULARIES = (4096, 8192, 16384, 32768, 65536, 131072)
FORGET_SETS = (40, 200, 400)
PROCESSES = (1, 2, 4)
FULL_LOGITS_METHOD = "me+gd"
"""The method that is measured next to --method over vocabularies: its loss reads full logits at every forget token."""

Row = dict[str, Any]


def by_tokens(options: argparse.Namespace) -> Iterator[Row]:
    """An increasing number of items in a step."""
    setting = step_setting(options)
    for items in ITEMS:
        examples = _text(setting, items)
        yield {"x": items, **_step("packed", setting, examples)}


def by_length(options: argparse.Namespace) -> Iterator[Row]:
    """The same number of tokens in fewer, longer sequences, compared with the padded baseline."""
    setting = step_setting(options)
    for length in LENGTHS:
        examples = _random_examples(setting, length, count=max(1, options.tokens // length))
        for contender in ("packed", "padded"):
            yield {"x": length, **_step(contender, setting, examples)}


def by_vocabulary(options: argparse.Namespace) -> Iterator[Row]:
    """The same step of a model with a small hidden size and an increasing vocabulary."""
    setting = step_setting(options)
    for method in dict.fromkeys((setting.method, FULL_LOGITS_METHOD)):
        for vocabulary in VOCABULARIES:
            shape = replace(SHAPES["tiny"], vocab_size=vocabulary)
            small = replace(setting, shape=shape, method=method)
            yield {"x": vocabulary, **_step("packed", small, _text(small, options.items)), "shape": "tiny"}


def by_forget_set(options: argparse.Namespace) -> Iterator[Row]:
    """Runs on an increasing forget set: sampling, tokenization, all steps of two epochs."""
    setting = step_setting(options)
    for items in FORGET_SETS:
        measured = run_in_subprocess(measure_run, setting, items, options.items)
        result = {"failed": measured} if isinstance(measured, str) else asdict(measured)
        yield {"x": items, **_settings("packed", setting), **result}


def by_processes(options: argparse.Namespace) -> Iterator[Row]:
    """The same step, split over processes."""
    setting = step_setting(options)
    for count in PROCESSES:
        yield {"x": count, **_settings("packed", setting), **measure_processes(setting, count, options.items)}


SERIES: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "tokens": by_tokens,
    "length": by_length,
    "vocabulary": by_vocabulary,
    "forget-set": by_forget_set,
    "processes": by_processes,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        origin = {**describe_machine(step_setting(options).device), "commit": commit()}
        for name in options.series:
            for row in SERIES[name](options):
                made = {**origin, "date": datetime.now(UTC).date().isoformat()}
                print(json.dumps({"series": name, **row, **made}), flush=True)
    except EffaceError as error:
        print(f"scaling.py: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--series", nargs="+", choices=SERIES, default=list(SERIES), metavar="NAME", help="default: all"
    )
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--method", default="idk+ap")
    parser.add_argument("--items", type=positive, default=32, help="forget items of a step in the other series")
    parser.add_argument("--tokens", type=positive, default=4096, help="tokens of each view in the series `length`")
    parser.add_argument(
        "--repeats", type=positive, default=5, help="timed steps, of which the median is reported (default 5)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="default: bfloat16 on cuda, float32 on cpu")
    parser.add_argument("--optimizer", choices=("adamw", "none"), help="default: none for 7b, else adamw")
    parser.set_defaults(checkpointing=False, max_tokens_per_forward=None, kernels="torch")
    return parser


def _step(contender: Contender, setting: Setting, examples: Sequence[TrainingExample]) -> Row:
    measured = measure_in_subprocess(contender, setting, examples)
    result = asdict(measured) if isinstance(measured, Measured) else {"failed": measured}
    return {**_settings(contender, setting), **result}


def _settings(contender: Contender, setting: Setting) -> Row:
    shape = next((name for name, shape in SHAPES.items() if shape == setting.shape), None)
    return {
        "contender": contender,
        "shape": shape,
        "method": setting.method,
        "dtype": setting.dtype,
        "optimizer": setting.optimizer,
        "repeats": setting.repeats,
        "threads": torch.get_num_threads(),
        "peak_bytes_means": PEAK_BYTES_MEANS[setting.device],
    }


def _text(setting: Setting, items: int) -> list[TrainingExample]:
    """TOFU's sequences, with ids mapped into the vocabulary: only lengths matter here."""
    views = objective(setting.method, ObjectiveConfig()).views
    workload = load_workload(views, items=items, tokenizer=None)
    return [{view: _within(item, setting.shape.vocab_size) for view, item in row.items()} for row in workload.examples]


def _within(item: TokenizedSequence, vocabulary: int) -> TokenizedSequence:
    prompt, answer = ([token % vocabulary for token in ids] for ids in (item.prompt, item.answer))
    return TokenizedSequence(item.id, prompt, answer)


def _random_examples(setting: Setting, length: int, *, count: int) -> list[TrainingExample]:
    """Sequences of one length with different beginnings; half of each is the answer."""
    chance = random.Random(length)

    def sequence(name: str) -> TokenizedSequence:
        ids = [chance.randrange(setting.shape.vocab_size) for _ in range(length)]
        return TokenizedSequence(name, ids[: length // 2], ids[length // 2 :])

    views = objective(setting.method, ObjectiveConfig()).views
    return [{view: sequence(f"{view}/{number}") for view in views} for number in range(count)]


if __name__ == "__main__":
    sys.exit(main())
