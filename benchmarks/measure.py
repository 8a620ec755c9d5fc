"""Seconds, memory, forwards and tokens of one optimizer step, padded or packed."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch

from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import Objective, Reference, ReferenceDistribution
from efface.packing.support import packing_unsupported_reason
from efface.reference.hidden_states import CachedHiddenStates
from efface.reference.logprobs import CachedLogprobs
from efface.train.batches.micro_batches import TrainingExample
from efface.train.config import Kernels
from efface.train.step import Losses, batch_losses
from padded_baseline import padded_losses
from shapes import Shape, build_model

Contender = Literal["packed", "padded"]
Device = Literal["cpu", "cuda"]
Dtype = Literal["float64", "float32", "bfloat16"]
Optimizer = Literal["adamw", "none"]
MODEL_SEED, REFERENCE_SEED = 0, 1
WARM_UP = 2
PEAK_BYTES_MEANS = {
    "cuda": "torch.cuda.max_memory_allocated of a step, weights included, each contender in its own process",
    "cpu": "growth of the peak resident memory since before the model was built, each contender in its own process",
}


@dataclass(frozen=True)
class Setting:
    """Settings of both contenders."""

    shape: Shape
    method: str
    device: Device
    dtype: Dtype
    optimizer: Optimizer
    checkpointing: bool
    max_tokens_per_forward: int | None
    """Maximum tokens in one packed forward pass; None: all of the step."""
    repeats: int
    kernels: Kernels = "torch"
    """What computes the layers of the packed step."""


@dataclass(frozen=True)
class Measured:
    """Measurements of one contender. Counts and losses are those of one step."""

    seconds: float
    """Median of the repeats: losses, backward and optimizer."""
    peak_bytes: int
    tokens: int
    """Tokens read by model and reference, padding included."""
    forwards: int
    """Forward passes of model and reference."""
    loss: float
    """Forget plus retain, before the first update."""
    forget_loss: float
    retain_loss: float
    reference_seconds: float | None
    """Time to compute the cached reference of this step, once, outside the step; None if nothing is cached."""
    first_seconds: float | None = None
    """The first step, in which kernels may be compiled; None where it was not timed."""


@dataclass(frozen=True)
class CachedReference:
    """What is cached of the model before unlearning."""

    reference: Reference
    seconds: float | None
    """Time to compute it; None if nothing is cached."""
    folder: TemporaryDirectory[str]
    """The folder of the hidden states, removed with this object."""


@dataclass(frozen=True)
class PreparedStep:
    """A step that is ready to be measured."""

    model: Any
    reference: Any
    """A second model, whose forward passes are counted as well."""
    losses: Callable[[], Losses]
    cached: CachedReference | None = None


class Traffic:
    """Counts forward passes of backbones, and the tokens that they read."""

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


def measure(contender: Contender, setting: Setting, examples: Sequence[TrainingExample]) -> Measured:
    """Measure one contender. Call it in a new process, since peak memory never decreases."""
    if contender == "packed" and setting.optimizer == "adamw":
        from training_step import measure_training

        return measure_training(setting, examples)
    prepare = packed if contender == "packed" else _padded
    return measure_step(lambda: prepare(setting, examples), setting)


def measure_step(prepare: Callable[[], PreparedStep], setting: Setting) -> Measured:
    """Measure the step that `prepare` returns, and the memory of preparing it. Call it in a new process."""
    before = peak_resident()
    prepared = prepare()
    step = optimizer_step(prepared, setting)
    reset_peak(setting)
    traffic = Traffic(prepared.model, prepared.reference)
    first = step()
    traffic.stop()
    for _ in range(WARM_UP - 1):
        step()
    seconds = [_timed(step, setting) for _ in range(setting.repeats)]
    forget, retain = first.forget.item(), first.retain.item()
    return Measured(
        seconds=median(seconds),
        peak_bytes=peak(setting, before),
        tokens=traffic.tokens,
        forwards=traffic.forwards,
        loss=forget + retain,
        forget_loss=forget,
        retain_loss=retain,
        reference_seconds=prepared.cached.seconds if prepared.cached else None,
    )


def packed(setting: Setting, examples: Sequence[TrainingExample]) -> PreparedStep:
    bound = objective(setting.method, ObjectiveConfig())
    before = bound.sequence_reference_views or bound.needs_distribution
    cached = cache_reference(make_model(setting, REFERENCE_SEED), bound, examples, setting) if before else None
    return packed_step(training_model(setting), setting, examples, cached)


def packed_step(
    model: Any,
    setting: Setting,
    examples: Sequence[TrainingExample],
    cached: CachedReference | None,
    *,
    live: Any = None,
) -> PreparedStep:
    """A step on the code path of training; `live`: a second model in memory, part of `cached.reference`."""
    bound = objective(setting.method, ObjectiveConfig())
    reference = cached.reference if cached else Reference()
    packing_unsupported_reason(model)  # checked by forward passes that are not part of a step

    def losses() -> Losses:
        return batch_losses(
            model,
            bound,
            examples,
            reference,
            max_tokens_per_forward=setting.max_tokens_per_forward,
            backward=torch.Tensor.backward,
        )

    return PreparedStep(model, live, losses, cached)


def _padded(setting: Setting, examples: Sequence[TrainingExample]) -> PreparedStep:
    bound = objective(setting.method, ObjectiveConfig())
    compares = bound.sequence_reference_views or bound.needs_distribution
    reference = make_model(setting, REFERENCE_SEED).eval() if compares else None
    model = training_model(setting)
    return PreparedStep(model, reference, lambda: padded_losses(model, reference, bound.name, examples))


def cache_reference(
    model: Any,
    bound: Objective,
    examples: Sequence[TrainingExample],
    setting: Setting,
    *,
    distribution: ReferenceDistribution | None = None,
) -> CachedReference:
    """Cache what training needs of the model before unlearning: log-probabilities and hidden states.

    Args:
        model: The model before unlearning; not referenced afterwards.
        bound: The objective.
        examples: Those of the step.
        setting: Of both contenders.
        distribution: Used instead of hidden states.
    """
    sequences = [example[view] for example in examples for view in bound.sequence_reference_views]
    reads = [
        (example[view], positions) for example in examples for view, positions in bound.distribution_reference_views
    ]
    folder = TemporaryDirectory()
    budget = setting.max_tokens_per_forward or sum(len(item) for example in examples for item in example.values())
    packing_unsupported_reason(model)
    _synchronize(setting)
    start = time.perf_counter()
    logprobs = CachedLogprobs.compute(model, sequences, max_tokens_per_forward=budget) if sequences else None
    states = bool(reads) and distribution is None
    if states:
        path = Path(folder.name) / "states.safetensors"
        distribution = CachedHiddenStates.compute(model, reads, path, max_tokens_per_forward=budget, made_by={})
    seconds = time.perf_counter() - start if sequences or states else None
    return CachedReference(Reference(logprobs, distribution), seconds, folder)


def make_model(setting: Setting, seed: int) -> Any:
    """A model of the setting's shape; the same weights for the same seed."""
    dtype = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}[setting.dtype]
    return build_model(setting.shape, seed=seed, dtype=dtype, device=torch.device(setting.device))


def training_model(setting: Setting) -> Any:
    """The model in training."""
    model = make_model(setting, MODEL_SEED).train()
    if setting.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def optimizer_step(prepared: PreparedStep, setting: Setting) -> Callable[[], Losses]:
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


def reset_peak(setting: Setting) -> None:
    if setting.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak(setting: Setting, before: int) -> int:
    return int(torch.cuda.max_memory_allocated()) if setting.device == "cuda" else peak_resident() - before


def peak_resident() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
