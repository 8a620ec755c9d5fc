#!/usr/bin/env python3
"""What it costs to sample and tokenize the epochs of a run, up to the examples of each step; nothing is trained.

    python benchmarks/token_ids.py                              # 10,000 items, five epochs of IDK+AP
    python benchmarks/token_ids.py --items 100000 --json

The items are those of `workload.py`, repeated with a number in each question and answer; the tokenizer is a BPE trained
on them, with the chat template of ChatML (or `--tokenizer DIR` with its own).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from efface.errors import EffaceError
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.schema import Item, Task
from efface.text.formatter import PromptFormatter, TextConfig
from efface.train.batches.examples import most_bytes, unlearning_examples
from efface.train.batches.sampler import sample_batches
from efface.train.config import TrainConfig
from isolation import run_in_subprocess
from machine import describe_machine
from measure import peak_resident
from options import positive
from workload import formatter_for, load_text

_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Cost:
    """Of all epochs."""

    steps: int
    tokens: int
    first_step_seconds: float
    """Wall clock until the examples of the first step are there."""
    first_step_cpu_seconds: float
    epoch_cpu_seconds: float
    """Processor time of all epochs, divided by their number."""
    peak_bytes: int
    """Growth of the peak resident memory."""


def measure(items: int, epochs: int, batch_size: int, method: str, tokenizer: Path | None) -> Cost:
    """Measure once. Call it in a new process."""
    task, formatter = _workload(items, tokenizer)
    views = objective(method, ObjectiveConfig()).views
    config = TrainConfig(epochs=epochs, batch_size=batch_size)
    before, wall, cpu = peak_resident(), time.perf_counter(), time.process_time()
    most = most_bytes([*task.forget, *task.retain], task.refusals)
    steps = unlearning_examples(sample_batches(task, config, 0), views, formatter, most_bytes=most)
    tokens = first_wall = first_cpu = 0.0
    for number, step in enumerate(steps):
        tokens += sum(len(sequence) for example in step for sequence in example.values())
        if number == 0:
            first_wall, first_cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Cost(
        steps=len(steps),
        tokens=int(tokens),
        first_step_seconds=first_wall,
        first_step_cpu_seconds=first_cpu,
        epoch_cpu_seconds=(time.process_time() - cpu) / epochs,
        peak_bytes=peak_resident() - before,
    )


def _workload(items: int, tokenizer: Path | None) -> tuple[Task, PromptFormatter]:
    task, source = load_text()
    plain = formatter_for(task, source, tokenizer)
    if tokenizer is None:
        plain.tokenizer.chat_template = _CHATML
        plain.tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    many = task.model_copy(update={"forget": _repeated(task.forget, items), "retain": _repeated(task.retain, items)})
    return many, PromptFormatter(plain.tokenizer, TextConfig(format="chat"), limit=2048)


def _repeated(items: Sequence[Item], count: int) -> list[Item]:
    made = []
    for number in range(count):
        item = items[number % len(items)]
        changes = {
            "id": f"{item.id}-{number}",
            "question": f"{item.question} ({number})",
            "answer": f"{item.answer} {number}",
        }
        made.append(item.model_copy(update=changes))
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=positive, default=10_000, help="of the forget set and of the retain set")
    parser.add_argument("--epochs", type=positive, default=5)
    parser.add_argument("--batch-size", type=positive, default=32)
    parser.add_argument("--method", default="idk+ap", help="decides which views are tokenized (default idk+ap)")
    parser.add_argument("--tokenizer", type=Path, help="local folder (default: a BPE trained on the text)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    settings = (options.items, options.epochs, options.batch_size, options.method, options.tokenizer)
    try:
        measured = run_in_subprocess(measure, *settings)
    except EffaceError as error:
        print(f"token_ids.py: {error}", file=sys.stderr)
        return 2
    row: dict[str, Any] = {"failed": measured} if isinstance(measured, str) else asdict(measured)
    named = dict(zip(("items", "epochs", "batch_size", "method"), settings, strict=False))
    print(json.dumps({**named, **row, **describe_machine("cpu")}) if options.json else _as_text({**named, **row}))
    return 0


def _as_text(row: dict[str, Any]) -> str:
    return "\n".join(
        f"{key}: {value:.4g}" if isinstance(value, float) else f"{key}: {value}" for key, value in row.items()
    )


if __name__ == "__main__":
    sys.exit(main())
