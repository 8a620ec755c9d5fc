"""A few steps of ordinary training on given rows, with a look at the model between them."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch

from efface.errors import EffaceError
from efface.hardware.memory import free_memory
from efface.models.lora import add_adapters
from efface.objectives.method import fine_tuning
from efface.objectives.terms import Reference
from efface.packing.forward import device_of
from efface.schema import Item
from efface.text.formatter import PromptFormatter
from efface.train.batches.micro_batches import TrainingExample, count_tokens
from efface.train.config import LoRAConfig
from efface.train.step import batch_losses

_ADAPTERS = LoRAConfig(r=64, alpha=128, dropout=0.0)
_BYTES_PER_WEIGHT = 16
"""Weights, gradients and both moments in float32."""
_FREE_SHARE = 0.8


def relearn(
    model: Any,
    formatter: PromptFormatter,
    rows: Sequence[Item],
    *,
    lr: float,
    batch_size: int,
    looks: Collection[int],
    seed: str,
) -> Iterator[int]:
    """Train in place with cross-entropy on the answers (GD) and AdamW, without warm-up, decay and dropout.

    All weights are trained in float32, or adapters of rank 64 where memory does not hold the optimizer's state; the
    caller puts the weights back.

    Args:
        model: A causal language model of transformers.
        formatter: Of the model.
        rows: What is trained on, in an order that depends on `seed` alone.
        lr: Learning rate.
        batch_size: Rows of a step.
        looks: Numbers of steps after which the caller looks.
        seed: Any text.

    Yields:
        The number of steps done, while the model is as it is then.

    Raises:
        EffaceError: A row does not fit into the model, or a step does not fit into the memory.
    """
    batches = _batches(formatter, rows, batch_size, seed)
    trained, adapted = _prepare(model)
    try:
        optimizer = _adamw(trained, lr)
        for step in range(1, max(looks) + 1):
            _step(trained, optimizer, next(batches))
            if step in looks:
                optimizer.zero_grad()
                yield step
    finally:
        if adapted:
            trained.unload()


def _prepare(model: Any) -> tuple[Any, bool]:
    """The model to train, and whether that is adapters; always without dropout, so that results do not vary."""
    weights = sum(parameter.numel() for parameter in model.parameters())
    if weights * _BYTES_PER_WEIGHT > _FREE_SHARE * free_memory(device_of(model)):
        return add_adapters(model, _ADAPTERS, seed=0).eval(), True
    for parameter in model.parameters():
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    return model.eval(), False


def _adamw(model: Any, lr: float) -> torch.optim.Optimizer:
    """AdamW in one pass over the weights, which on a CPU takes a fifth of the time that training's takes."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(trained, lr=lr, weight_decay=0.0, fused=True)


def _step(model: Any, optimizer: torch.optim.Optimizer, examples: Sequence[TrainingExample]) -> None:
    """One step; where memory runs out, again in smaller micro-batches."""
    tokens = sum(map(count_tokens, examples))
    while True:
        optimizer.zero_grad()
        try:
            with torch.enable_grad():
                batch_losses(
                    model,
                    fine_tuning(),
                    examples,
                    Reference(),
                    max_tokens_per_forward=tokens,
                    backward=torch.Tensor.backward,
                )
            break
        except torch.OutOfMemoryError as error:
            if tokens < max(map(count_tokens, examples)):
                raise EffaceError(
                    "the GPU's memory does not hold a training step of one row; use device=cpu, or audit.attacks=asks"
                ) from error
        tokens //= 2
        torch.cuda.empty_cache()
    optimizer.step()


def _batches(
    formatter: PromptFormatter, rows: Sequence[Item], batch_size: int, seed: str
) -> Iterator[list[TrainingExample]]:
    """All rows in a random order, again and again, so many at a time."""
    sequences = formatter.encode([(item.id, item.prompt, item.scored_answer) for item in rows])
    order = _endless(len(sequences), seed)
    while True:
        yield [{"retain": sequences[next(order)]} for _ in range(min(batch_size, len(sequences)))]


def _endless(count: int, seed: str) -> Iterator[int]:
    draw = random.Random(seed)
    while True:
        yield from draw.sample(range(count), count)
