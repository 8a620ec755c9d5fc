"""Seconds, memory, forwards and tokens of one optimizer step, padded or packed."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import torch

from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import Objective, Reference
from efface.reference.cached import CachedLogprobs
from efface.reference.live import LiveReference
from efface.text.reading import why_in_rows
from efface.train.step import Example, Losses, batch_losses
from padded_baseline import padded_losses
from shapes import Shape, build_model

Contender = Literal["packed", "padded"]
_MODEL_SEED, _REFERENCE_SEED = 0, 1
_WARM_UP = 2
PEAK_BYTES_MEANS = {
    "cuda": "torch.cuda.max_memory_allocated of a step, weights included, each contender in its own process",
    "cpu": "growth of the peak resident memory since before the model was built, each contender in its own process",
}


@dataclass(frozen=True)
class Setting:
    """What both contenders have in common."""

    shape: Shape
    method: str
    device: Literal["cpu", "cuda"]
    dtype: Literal["float64", "float32", "bfloat16"]
    optimizer: Literal["adamw", "none"]
    checkpointing: bool
    token_budget: int | None
    """Most tokens in one packed forward; None: all of the step's."""
    repeats: int


@dataclass(frozen=True)
class Measured:
    """One contender. Counts and losses are those of one step."""

    seconds: float
    """Median of the repeats: losses, backward and optimizer."""
    peak_bytes: int
    tokens: int
    """That go through the model and the reference, padding included."""
    forwards: int
    """Of the model and the reference."""
    loss: float
    """Forget plus retain, before the first update."""
    forget_loss: float
    retain_loss: float
    reference_seconds: float | None
    """Reference log-probs of this step's sequences, computed once, outside the step; None where none are cached."""


@dataclass(frozen=True)
class _Prepared:
    model: Any
    reference: Any
    losses: Callable[[], Losses]
    reference_seconds: float | None = None


class _Traffic:
    """Counts forwards of the backbones it watches, and the tokens they read."""

    def __init__(self, *models: Any) -> None:
        self.forwards = 0
        self.tokens = 0
        self._hooks = [
            model.get_decoder().register_forward_pre_hook(self._count, with_kwargs=True)
            for model in models
            if model is not None
        ]

    def _count(self, _module: torch.nn.Module, _args: tuple[Any, ...], inputs: dict[str, Any]) -> None:
        self.forwards += 1
        self.tokens += inputs["input_ids"].numel()

    def stop(self) -> None:
        for hook in self._hooks:
            hook.remove()


def measure(contender: Contender, setting: Setting, examples: Sequence[Example]) -> Measured:
    """Measure one of the two. Call it in a process of its own, or one's peak memory hides the other's."""
    before = _peak_resident()
    prepared = (_packed if contender == "packed" else _padded)(setting, examples)
    step = _step(prepared, setting)
    _reset_peak(setting)
    traffic = _Traffic(prepared.model, prepared.reference)
    first = step()
    traffic.stop()
    for _ in range(_WARM_UP - 1):
        step()
    seconds = [_timed(step, setting) for _ in range(setting.repeats)]
    forget, retain = first.forget.item(), first.retain.item()
    return Measured(
        seconds=median(seconds),
        peak_bytes=_peak(setting, before),
        tokens=traffic.tokens,
        forwards=traffic.forwards,
        loss=forget + retain,
        forget_loss=forget,
        retain_loss=retain,
        reference_seconds=prepared.reference_seconds,
    )


def _packed(setting: Setting, examples: Sequence[Example]) -> _Prepared:
    bound = objective(setting.method, ObjectiveConfig())
    cached, seconds = _cache(setting, bound, examples) if bound.sequence_reference_views else (None, None)
    live = _model(setting, _REFERENCE_SEED).eval() if bound.needs_distribution else None
    reference = Reference(cached, LiveReference(live) if live is not None else None)
    model = _trained(setting)
    why_in_rows(model)  # found out by forwards of its own, which are no part of a step

    def losses() -> Losses:
        return batch_losses(
            model, bound, examples, reference, token_budget=setting.token_budget, backward=torch.Tensor.backward
        )

    return _Prepared(model, live, losses, seconds)


def _padded(setting: Setting, examples: Sequence[Example]) -> _Prepared:
    bound = objective(setting.method, ObjectiveConfig())
    compares = bound.sequence_reference_views or bound.needs_distribution
    reference = _model(setting, _REFERENCE_SEED).eval() if compares else None
    model = _trained(setting)
    return _Prepared(model, reference, lambda: padded_losses(model, reference, bound.name, examples))


def _cache(setting: Setting, bound: Objective, examples: Sequence[Example]) -> tuple[CachedLogprobs, float]:
    """The reference's log-probs and the seconds they took; the reference is gone before the model comes."""
    reference = _model(setting, _REFERENCE_SEED)
    sequences = [example[view] for example in examples for view in bound.sequence_reference_views]
    budget = setting.token_budget or sum(len(item) for item in sequences)
    _synchronize(setting)
    start = time.perf_counter()
    cached = CachedLogprobs.compute(reference, sequences, token_budget=budget)
    return cached, time.perf_counter() - start


def _model(setting: Setting, seed: int) -> Any:
    dtype = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}[setting.dtype]
    return build_model(setting.shape, seed=seed, dtype=dtype, device=torch.device(setting.device))


def _trained(setting: Setting) -> Any:
    model = _model(setting, _MODEL_SEED).train()
    if setting.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def _step(prepared: _Prepared, setting: Setting) -> Callable[[], Losses]:
    model = prepared.model
    adamw = None
    if setting.optimizer == "adamw":
        adamw = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01, fused=setting.device == "cuda")

    def step() -> Losses:
        model.zero_grad(set_to_none=True)
        losses = prepared.losses()
        if adamw is not None:
            adamw.step()
        return losses

    return step


def _timed(step: Callable[[], Losses], setting: Setting) -> float:
    _synchronize(setting)
    start = time.perf_counter()
    step()
    _synchronize(setting)
    return time.perf_counter() - start


def _synchronize(setting: Setting) -> None:
    if setting.device == "cuda":
        torch.cuda.synchronize()


def _reset_peak(setting: Setting) -> None:
    if setting.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak(setting: Setting, before: int) -> int:
    return int(torch.cuda.max_memory_allocated()) if setting.device == "cuda" else _peak_resident() - before


def _peak_resident() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
