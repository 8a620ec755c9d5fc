#!/usr/bin/env python3
"""What KL's reference costs in one optimizer step: cached hidden states, adapters switched off, or a live model."""

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
from efface.train.config import LoRAConfig
from efface.train.micro_batches import TrainingExample
from isolation import alone
from measure import (
    MODEL_SEED,
    REFERENCE_SEED,
    Measured,
    Prepared,
    Setting,
    cache,
    measure_step,
    model_of,
    packed_step,
    trained,
)
from options import add_step_options, setting_of, workload_of
from record import record
from step_cost import describe

Trained = Literal["full", "lora"]
Way = Literal["cached", "live", "adapter off"]
WAYS: tuple[tuple[Trained, Way], ...] = (
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
        setting, workload = setting_of(options), workload_of(options)
        bound = objective(setting.method, ObjectiveConfig())
        if not bound.needs_distribution:
            raise EffaceError(f"--method {bound.name} compares no distributions; take one with kl, such as ga+kl")
        found = {name(*way): alone(measure_way, *way, setting, workload.examples) for way in WAYS}
    except EffaceError as error:
        print(f"kl_reference.py: {error}", file=sys.stderr)
        return 2
    report = {**compare(found), "shape": options.shape, **describe(setting, workload)}
    report["states_bytes"] = states_bytes(setting, workload.examples)
    print(json.dumps(report) if options.json else _as_text(report))
    if options.record:
        record(report)
    return 0


def name(trains: Trained, way: Way) -> str:
    """What a contender is called."""
    return f"{trains}, {way}"


def measure_way(trains: Trained, way: Way, setting: Setting, examples: Sequence[TrainingExample]) -> Measured:
    """One contender. Call it in a process of its own, or one's peak memory hides the other's."""
    return measure_step(lambda: prepare(trains, way, setting, examples), setting)


def prepare(trains: Trained, way: Way, setting: Setting, examples: Sequence[TrainingExample]) -> Prepared:
    """A step of all weights, whose reference is another model, or of adapters, whose reference is their base.

    Both have learned something already, so that the KL is not zero; log-probabilities are cached in every way.
    """
    bound = objective(setting.method, ObjectiveConfig())
    before = model_of(setting, REFERENCE_SEED if trains == "full" else MODEL_SEED)
    live = before.eval() if way == "live" else None
    distribution = LiveReference(live) if live is not None else None
    if way == "adapter off":
        model = _adapted(setting)
        distribution = LiveReference(model, adapter_off=True)
    cached = cache(before, bound, examples, setting, distribution=distribution)
    del before  # in memory only where it is `live`
    if way != "adapter off":
        model = trained(setting) if trains == "full" else _adapted(setting)
    return packed_step(model, setting, examples, cached, live=live)


def _adapted(setting: Setting) -> Any:
    """The model in training with adapters that are not zero, without dropout."""
    model = add_adapters(trained(setting), LoRAConfig(dropout=0.0), seed=0)
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if "lora_B" in key:
                weight.copy_(0.01 * torch.randn(weight.shape, generator=chance))
    return model


def compare(found: Mapping[str, Measured | str]) -> dict[str, Any]:
    """Every contender, and by how much the losses of those that train the same differ, relative to their size.

    One that could not be measured is a sentence saying why.
    """
    rows = {key: {"failed": each} if isinstance(each, str) else asdict(each) for key, each in found.items()}
    differences = []
    for trains in ("full", "lora"):
        same = [each for key, each in found.items() if key.startswith(trains) and not isinstance(each, str)]
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
    [(view, positions)] = objective(setting.method, ObjectiveConfig()).distribution_reads
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
