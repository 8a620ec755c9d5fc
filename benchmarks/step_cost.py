#!/usr/bin/env python3
"""What one optimizer step costs: efface's packed path against what published code does (`padded_baseline`)."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, get_args

import torch

from efface.errors import EffaceError
from isolation import measure_alone
from machine import device_name, versions
from measure import PEAK_BYTES_MEANS, Contender, Measured, Setting
from options import add_step_options, setting_of, workload_of
from record import record
from workload import Workload


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        setting, workload = setting_of(options), workload_of(options)
        packed, padded = (measure_alone(contender, setting, workload.examples) for contender in get_args(Contender))
    except EffaceError as error:
        print(f"step_cost.py: {error}", file=sys.stderr)
        return 2
    report = {**compare(packed, padded), "shape": options.shape, **describe(setting, workload)}
    print(json.dumps(report) if options.json else _as_text(report))
    if options.record:
        record(report)
    return 0


def compare(packed: Measured | str, padded: Measured | str) -> dict[str, Any]:
    """Both contenders, by how much the packed one is faster, and the relative difference of their losses.

    One that could not be measured is a sentence saying why. The losses' size is that of their two parts: in
    GA+GD with random weights these cancel, and the sum alone would be mostly rounding.
    """
    rows = {"packed": _row(packed), "padded": _row(padded)}
    if isinstance(packed, str) or isinstance(padded, str):
        return {**rows, "speedup": None, "loss_difference": None}
    return {
        **rows,
        "speedup": padded.seconds / packed.seconds,
        "loss_difference": abs(packed.loss - padded.loss) / (abs(padded.forget_loss) + abs(padded.retain_loss)),
    }


def describe(setting: Setting, workload: Workload) -> dict[str, Any]:
    """How the numbers were made."""
    return {
        "method": setting.method,
        "dtype": setting.dtype,
        "optimizer": setting.optimizer,
        "checkpointing": setting.checkpointing,
        "max_tokens_per_forward": setting.max_tokens_per_forward,
        "items": len(workload.examples),
        "repeats": setting.repeats,
        "text": {"source": workload.source, "mean_tokens": workload.mean_tokens, "longest": workload.longest},
        "device": device_name(setting.device),
        "threads": torch.get_num_threads(),
        "peak_bytes_means": PEAK_BYTES_MEANS[setting.device],
        "versions": versions(),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add_step_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append the numbers to results.csv")
    return parser


def _row(measured: Measured | str) -> dict[str, Any]:
    if isinstance(measured, str):
        return {"failed": measured}
    return {key: value for key, value in asdict(measured).items() if value is not None}


def _as_text(report: dict[str, Any]) -> str:
    lines = [f"{report['shape']} {report['method']} {report['dtype']} on {report['device']}"]
    for contender in get_args(Contender):
        row = report[contender]
        lines.append(
            f"  {contender}: {row['failed']}"
            if "failed" in row
            else f"  {contender}: {row['seconds']:.4g} s, {row['peak_bytes'] / 2**30:.2f} GiB, {row['tokens']} tokens, "
            f"{row['forwards']} forwards, loss {row['loss']:.7g}"
        )
    if report["speedup"]:
        lines.append(
            f"  {report['speedup']:.1f}x faster; losses differ by {report['loss_difference']:.1g} of their size"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
