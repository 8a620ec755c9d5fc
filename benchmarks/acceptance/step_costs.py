"""Part 2: the optimizer step, against the padded baseline and against the published times."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import get_args

import torch

from acceptance.sizes import METHODS, Sizes
from acceptance.stages import Measurements, Row, SkippedError, free_unused_memory
from efface.errors import EffaceError
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import View
from efface.train.batches.micro_batches import TrainingExample
from efface.train.config import Kernels, TrainConfig
from efface.train.kernels import check_kernels
from measure import Contender, Device, Dtype, Measured, Optimizer, Setting, measure
from step_cost import compare
from workload import load_workload

PUBLISHED_SECONDS = {"idk+ap": 6.3, "dpo+kl": 9.8, "npo+gd": 5.4, "me+gd": 2.6, "ga+kl": 2.9}
"""One step of the published code, effective batch 32, at the 1B shape on one H100 80GB (torch 2.11)."""


def of_1b(sizes: Sizes, device: Device) -> Measurements:
    """Every method at 1B, with AdamW."""
    return _steps(sizes, device, "1B", METHODS)


def of_7b(sizes: Sizes, device: Device) -> Measurements:
    """Two methods at 7B, without optimizer, whose state does not fit beside padded rows."""
    return _steps(sizes, device, "7B", ("idk+ap", "me+gd"), optimizer="none")


def of_135m(sizes: Sizes, device: Device) -> Measurements:
    """Two methods at 135M: here a step is mostly launching."""
    return _steps(sizes, device, "135M", ("idk+ap", "me+gd"))


def with_kernels(sizes: Sizes, device: Device) -> Measurements:
    """The packed step with other kernels, beside the same with those of torch."""
    return {
        f"step of {model} with kernels {kernels}": partial(_beside_torch, sizes, device, model, kernels)
        for model in ("135M", "1B")
        for kernels in get_args(Kernels)
        if kernels != "torch"
    }


def in_float32(sizes: Sizes, device: Device) -> Measurements:
    """Packed and padded losses at 135M, where rounding does not hide a difference."""
    setting = _setting(sizes, device, "135M", dtype="float32", repeats=1)
    return {
        f"loss in float32, {method.upper()}": partial(_loss_difference, setting(method), sizes.items)
        for method in METHODS
    }


def _steps(
    sizes: Sizes, device: Device, model: str, methods: tuple[str, ...], *, optimizer: Optimizer = "adamw"
) -> Measurements:
    dtype: Dtype = "bfloat16" if device == "cuda" else "float32"
    setting = _setting(sizes, device, model, dtype=dtype, repeats=sizes.repeats, optimizer=optimizer)
    padded = _setting(sizes, device, model, dtype=dtype, repeats=sizes.padded_repeats, optimizer=optimizer)
    return {
        f"step of {model}, {method.upper()}": partial(
            _compared,
            setting(method),
            padded(method),
            sizes.items,
            PUBLISHED_SECONDS[method] if model == "1B" else None,
        )
        for method in methods
    }


def _setting(
    sizes: Sizes, device: Device, model: str, *, dtype: Dtype, repeats: int, optimizer: Optimizer = "adamw"
) -> Callable[[str], Setting]:
    """The setting of a method."""
    return lambda method: Setting(
        shape=sizes.models[model],
        method=method,
        device=device,
        dtype=dtype,
        optimizer=optimizer,
        checkpointing=False,
        max_tokens_per_forward=None,
        repeats=repeats,
    )


def _compared(packed: Setting, padded: Setting, items: int, published: float | None) -> Row:
    """Both contenders; the padded one may not fit into memory."""
    examples = _examples(packed.method, items)
    first = measure("packed", packed, examples)
    free_unused_memory()
    try:
        second: Measured | str = measure("padded", padded, examples)
    except torch.OutOfMemoryError:
        second = "does not fit into the device's memory"
    row = compare(first, second)
    return row if published is None else {**row, "speedup_over_published": published / first.seconds}


def _beside_torch(sizes: Sizes, device: Device, model: str, kernels: Kernels) -> Row:
    """Seconds of both; skipped where a GPU, a package or a compiler is missing."""
    try:
        check_kernels(TrainConfig(kernels=kernels), torch.device(device))
    except EffaceError as error:
        raise SkippedError(str(error)) from error
    dtype: Dtype = "bfloat16" if device == "cuda" else "float32"
    plain = _setting(sizes, device, model, dtype=dtype, repeats=sizes.repeats)("idk+ap")
    examples = _examples(plain.method, sizes.items)
    without = measure("packed", plain, examples)
    free_unused_memory()
    other = measure("packed", replace(plain, kernels=kernels), examples)
    return {
        "seconds": other.seconds,
        "first_seconds": other.first_seconds,
        "peak_bytes": other.peak_bytes,
        "speedup_over_torch": without.seconds / other.seconds,
        "peak_bytes_of_torch": without.peak_bytes,
        "loss_difference": compare(other, without)["loss_difference"],
    }


def _loss_difference(setting: Setting, items: int) -> Row:
    examples = _examples(setting.method, items)
    packed, padded = (measure(contender, setting, examples) for contender in get_args(Contender))
    return {"loss": padded.loss, "loss_difference": compare(packed, padded)["loss_difference"]}


def _examples(method: str, items: int) -> tuple[TrainingExample, ...]:
    views = objective(method, ObjectiveConfig()).views
    return tuple({view: example[view] for view in views} for example in _all_views(items))


@cache
def _all_views(items: int) -> tuple[TrainingExample, ...]:
    return load_workload(get_args(View), items=items, tokenizer=None).examples
