#!/usr/bin/env python3
"""The cost of KL's reference in one optimizer step: cached hidden states, disabled adapters, or a live model."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import torch

from efface.errors import EffaceError
from efface.models.lora import add_adapters
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.reference.live import LiveReference
from efface.train.batches.micro_batches import TrainingExample
from efface.train.config import LoRAConfig
from isolation import run_in_subprocess
from measure import (
    MODEL_SEED,
    REFERENCE_SEED,
    Measured,
    PreparedStep,
    Setting,
    cache_reference,
    make_model,
    measure_step,
    packed_step,
    training_model,
)
from options import add_step_options, step_setting, step_workload
from record import record
from step_cost import describe

Weights = Literal["full", "lora"]
ReferenceMode = Literal["cached", "live", "adapter off"]
REFERENCE_MODES: tuple[tuple[Weights, ReferenceMode], ...] = (
    ("full", "cached"),
    ("full", "live"),
    ("lora", "cached"),
    ("lora", "adapter off"),
    ("lora", "live"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        setting, workload = step_setting(options), step_workload(options)
        bound = objective(setting.method, ObjectiveConfig())
        if not bound.needs_distribution:
            raise EffaceError(f"--method {bound.name} compares no distributions; use one with kl, such as ga+kl")
        results = {
            name(*mode): run_in_subprocess(measure_mode, *mode, setting, workload.examples) for mode in REFERENCE_MODES
        }
    except EffaceError as error:
        print(f"kl_reference.py: {error}", file=sys.stderr)
        return 2
    report = {**compare(results), "shape": options.shape, **describe(setting, workload)}
    report["states_bytes"] = states_bytes(setting, workload.examples)
    print(json.dumps(report) if options.json else _as_text(report))
    if options.record:
        record(report)
    return 0


def name(weights: Weights, mode: ReferenceMode) -> str:
    """Name of a contender."""
    return f"{weights}, {mode}"


def measure_mode(
    weights: Weights, mode: ReferenceMode, setting: Setting, examples: Sequence[TrainingExample]
) -> Measured:
    """Measure one contender. Call it in a new process, since peak memory never decreases."""
    return measure_step(lambda: prepare(weights, mode, setting, examples), setting)


def prepare(
    weights: Weights, mode: ReferenceMode, setting: Setting, examples: Sequence[TrainingExample]
) -> PreparedStep:
    """A step of all weights, whose reference is another model, or of adapters, whose reference is their base model.

    The trained weights differ from the reference, so that the KL is not zero; log-probabilities are always cached.
    """
    bound = objective(setting.method, ObjectiveConfig())
    before = make_model(setting, REFERENCE_SEED if weights == "full" else MODEL_SEED)
    live = before.eval() if mode == "live" else None
    distribution = LiveReference(live) if live is not None else None
    if mode == "adapter off":
        model = _adapted(setting)
        distribution = LiveReference(model, adapter_off=True)
    cached = cache_reference(before, bound, examples, setting, distribution=distribution)
    del before  # in memory only where it is `live`
    if mode != "adapter off":
        model = training_model(setting) if weights == "full" else _adapted(setting)
    return packed_step(model, setting, examples, cached, live=live)


def _adapted(setting: Setting) -> Any:
    """The model in training with nonzero adapters, without dropout."""
    model = add_adapters(training_model(setting), LoRAConfig(dropout=0.0), seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if "lora_B" in key:
                weight.copy_(0.01 * torch.randn(weight.shape, generator=generator))
    return model


def compare(results: Mapping[str, Measured | str]) -> dict[str, Any]:
    """Every contender, and the largest relative difference of losses between those that train the same weights.

    A contender that could not be measured is a sentence that says why.
    """
    rows = {key: {"failed": each} if isinstance(each, str) else asdict(each) for key, each in results.items()}
    differences = []
    for weights in ("full", "lora"):
        same = [each for key, each in results.items() if key.startswith(weights) and not isinstance(each, str)]
        for each in same[1:]:
            size = abs(each.forget_loss) + abs(each.retain_loss)
            differences.append(abs(each.loss - same[0].loss) / size)
    return {
        "what": "KL's reference",
        "contenders": list(rows),
        **rows,
        "loss_difference": max(differences, default=None),
    }


def states_bytes(setting: Setting, examples: Sequence[TrainingExample]) -> int:
    """What the hidden states of the step take in the file."""
    [(view, positions)] = objective(setting.method, ObjectiveConfig()).distribution_reference_views
    read = {example[view].key: example[view] for example in examples}.values()
    tokens = sum(len(item.answer) if positions == "answer" else len(item) - 1 for item in read)
    return tokens * setting.shape.hidden_size * getattr(torch, setting.dtype).itemsize


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add_step_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append the numbers to results.csv")
    return parser


def _as_text(report: Mapping[str, Any]) -> str:
    lines = [f"{report['shape']} {report['method']} {report['dtype']} on {report['device']}"]
    for key in report["contenders"]:
        row = report[key]
        lines.append(
            f"  {key}: {row['failed']}"
            if "failed" in row
            else f"  {key}: {row['seconds']:.4g} s, {row['peak_bytes'] / 2**30:.3f} GiB, {row['tokens']} tokens, "
            f"{row['forwards']} forwards; before: {row['reference_seconds'] or 0:.3g} s"
        )
    if report["loss_difference"] is not None:
        lines.append(f"  losses differ by {report['loss_difference']:.1g} of their size")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
