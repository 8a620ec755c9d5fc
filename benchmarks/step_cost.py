#!/usr/bin/env python3
"""The cost of one optimizer step: efface's packed path compared with that of published code (`padded_baseline`)."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, get_args

import torch

from efface.errors import EffaceError
from isolation import measure_in_subprocess
from machine import device_name, versions
from measure import PEAK_BYTES_MEANS, Contender, Measured, Setting
from options import add_step_options, step_setting, step_workload
from record import record
from workload import Workload


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        setting, workload = step_setting(options), step_workload(options)
        packed, padded = (
            measure_in_subprocess(contender, setting, workload.examples) for contender in get_args(Contender)
        )
    except EffaceError as error:
        print(f"step_cost.py: {error}", file=sys.stderr)
        return 2
    report = {**compare(packed, padded), "shape": options.shape, **describe(setting, workload)}
    print(json.dumps(report) if options.json else _as_text(report))
    if options.record:
        record(report)
    return 0


def compare(packed: Measured | str, padded: Measured | str) -> dict[str, Any]:
    """Both contenders, the speedup of the packed one, and the relative difference of their losses.

    A contender that could not be measured is a sentence that says why. The difference is relative to the sum of the
    absolute values of both parts: in GA+GD with random weights these cancel, and their sum would be mostly rounding.
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
    """The settings, the machine and the text of the measurement."""
    return {
        "method": setting.method,
        "dtype": setting.dtype,
        "optimizer": setting.optimizer,
        "kernels": setting.kernels,
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
