#!/usr/bin/env python3
"""Training on a CPU: processor seconds per token of efface and of `transformers.Trainer`.

The trainer groups items by length, pads each batch to its longest row, and computes logits at all positions. Both train
on the first steps of an epoch; the trainer's are on other items, so that seconds are divided by tokens without padding.
With `--method`, the trainer makes one forward pass for each view that the method reads, as published code does.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch

from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import fine_tuning, objective
from efface.objectives.terms import Objective, Reference
from efface.packing.support import packing_unsupported_reason
from efface.train.batches.micro_batches import TrainingExample
from efface.train.batches.schedule import Schedule
from efface.train.config import TrainConfig
from efface.train.loop import Trainer
from machine import device_name, versions
from padded_baseline import MicroBatch, count, loss_of, pad
from shapes import SHAPES, Shape, build_model
from workload import load_workload

_SHAPES = {"3m": Shape(192, 6, 6, 6, 512, 5120, tie_word_embeddings=True), "135m": SHAPES["135m"]}
_CPU = torch.device("cpu")
_WARM_UP = 1
_METHODS = ("ga+gd", "me+gd", "idk+gd", "idk+ap")
"""Those without a reference model, which efface computes once and the trainer would in each step."""


class Steps(NamedTuple):
    """What each step took, and had."""

    seconds: list[float]
    tokens: list[int]
    losses: list[float]

    def seconds_per_token(self) -> float:
        """The median over the steps after the one to warm up, in processor seconds."""
        return median(each / count for each, count in zip(self.seconds[_WARM_UP:], self.tokens[_WARM_UP:], strict=True))


def ours(shape: str, bound: Objective, batches: Sequence[Sequence[TrainingExample]]) -> Steps:
    """Steps of `efface.train.loop.Trainer`."""
    model = build_model(_SHAPES[shape], seed=0, dtype=torch.float32, device=_CPU).train()
    packing_unsupported_reason(model)
    ends, found = [0.0], Steps([], [], [])
    with TemporaryDirectory(prefix="efface-") as folder:
        config = TrainConfig(lr=1e-5, max_tokens_per_forward=10**9, weight_decay=0.0, schedule="constant")
        schedule = Schedule(len(batches), 0, len(batches))
        trainer = Trainer(model, bound, config, schedule, seed=0, folder=Path(folder))

        def on_step(log: Any) -> None:
            ends.append(time.process_time())
            found.seconds.append(ends[-1] - ends[-2])
            found.losses.append(log.loss)

        ends[0] = time.process_time()
        trainer.run(batches, Reference(), on_step=on_step)
    return Steps(found.seconds, [_tokens(batch) for batch in batches], found.losses)


def theirs(shape: str, method: str | None, examples: Sequence[TrainingExample], *, batch: int, steps: int) -> Steps:
    """Steps of `transformers.Trainer`, in an order of its own."""
    import transformers as hf

    model = build_model(_SHAPES[shape], seed=0, dtype=torch.float32, device=_CPU).train()
    found = Steps([], [], [])

    class Timing(hf.TrainerCallback):
        start = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.start = time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            found.seconds.append(time.process_time() - self.start)

        def on_log(self, _args: Any, _state: Any, _control: Any, logs: dict[str, float], **_: Any) -> None:
            found.losses.extend([logs["loss"]] if "loss" in logs else [])

    class Unlearning(hf.Trainer):
        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            return loss_of(method)(MicroBatch(model, None, **inputs))

    def padded(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        examples = [row["example"] for row in rows]
        found.tokens.append(_tokens(examples))
        views = {view: [example[view] for example in examples] for view in examples[0]}
        return {
            "rows": {view: pad(views[view], max(map(len, views[view])), _CPU) for view in views},
            "counts": {view: count(views[view]) for view in views},
        }

    rows = [{"example": example, "input_ids": next(iter(example.values())).ids} for example in examples]
    with TemporaryDirectory(prefix="efface-") as folder:
        arguments = hf.TrainingArguments(
            folder,
            per_device_train_batch_size=batch,
            max_steps=steps,
            learning_rate=1e-5,
            lr_scheduler_type="constant",
            train_sampling_strategy="group_by_length",
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            dataloader_pin_memory=False,
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        Unlearning(model, arguments, train_dataset=rows, data_collator=padded, callbacks=[Timing()]).train()
    return Steps(found.seconds, found.tokens[:steps], found.losses)


def _tokens(examples: Sequence[TrainingExample]) -> int:
    return sum(len(sequence) for example in examples for sequence in example.values())


def compare(shape: str, method: str | None, *, items: int, batch: int, steps: int) -> dict[str, Any]:
    """Seconds per token of both, and the mean losses, which differ by the items."""
    bound = objective(method, ObjectiveConfig()) if method else fine_tuning()
    examples = load_workload(bound.views, items=items, tokenizer=None).examples
    batches = [examples[start : start + batch] for start in range(0, steps * batch, batch)]
    mine, other = ours(shape, bound, batches), theirs(shape, method, examples, batch=batch, steps=steps)
    return {
        "efface": mine.seconds_per_token(),
        "trainer": other.seconds_per_token(),
        "speedup": other.seconds_per_token() / mine.seconds_per_token(),
        "efface_loss": mean(mine.losses),
        "trainer_loss": mean(map(float, other.losses)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=_SHAPES, default="3m")
    parser.add_argument("--method", choices=_METHODS, help="an unlearning method (default: fine-tuning)")
    parser.add_argument("--items", type=int, default=400, help="items of the epoch (default 400)")
    parser.add_argument("--batch", type=int, default=16, help="items of a step (default 16)")
    parser.add_argument("--steps", type=int, default=8, help="steps, the first not counted (default 8)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    found = compare(options.shape, options.method, items=options.items, batch=options.batch, steps=options.steps)
    setting = {
        "shape": options.shape,
        "method": options.method or "fine-tuning",
        "items": options.items,
        "batch": options.batch,
        "steps": options.steps,
        "threads": 1,
    }
    print(json.dumps({**found, **setting, "device": device_name("cpu"), "versions": versions()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
