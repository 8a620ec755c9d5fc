#!/usr/bin/env python3
"""What one optimizer step costs: efface's packed path against what published code does (`padded_baseline`)."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import torch
import transformers

import efface
from efface.errors import EffaceError
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.train.step import Example
from measure import PEAK_BYTES_MEANS, Contender, Measured, Setting, measure
from record import record
from shapes import SHAPES
from workload import Workload, load_workload


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        setting, workload = _setting(options), _workload(options)
        packed, padded = (_isolated(contender, setting, workload.examples) for contender in get_args(Contender))
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
        "token_budget": setting.token_budget,
        "items": len(workload.examples),
        "repeats": setting.repeats,
        "text": {"source": workload.source, "mean_tokens": workload.mean_tokens, "longest": workload.longest},
        "device": _device_name(setting.device),
        "threads": torch.get_num_threads(),
        "peak_bytes_means": PEAK_BYTES_MEANS[setting.device],
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "efface": efface.__version__,
        },
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--method", required=True, help="such as me+gd, idk+ap or llmu")
    parser.add_argument("--items", type=_positive, default=32, help="forget items of the step (default 32)")
    parser.add_argument("--repeats", type=_positive, default=5, help="timed steps; their median counts (default 5)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--dtype", choices=("float64", "float32", "bfloat16"), help="default: bfloat16 on cuda, float32 on cpu"
    )
    parser.add_argument("--optimizer", choices=("adamw", "none"), help="default: none for 7b, else adamw")
    parser.add_argument("--checkpointing", action="store_true", help="recompute activations, in both")
    parser.add_argument("--token-budget", type=_positive, help="most tokens in one packed forward (default: all)")
    parser.add_argument("--tokenizer", type=Path, help="local folder (default: a BPE trained on the text)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", action="store_true", help="append the numbers to results.csv")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _setting(options: argparse.Namespace) -> Setting:
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise EffaceError("--device cuda: torch sees no CUDA device on this machine; use --device cpu")
    return Setting(
        shape=SHAPES[options.shape],
        method=objective(options.method, ObjectiveConfig()).name,
        device=device,
        dtype=options.dtype or ("bfloat16" if device == "cuda" else "float32"),
        optimizer=options.optimizer or ("none" if options.shape == "7b" else "adamw"),
        checkpointing=options.checkpointing,
        token_budget=options.token_budget,
        repeats=options.repeats,
    )


def _workload(options: argparse.Namespace) -> Workload:
    views = objective(options.method, ObjectiveConfig()).views
    workload = load_workload(views, items=options.items, tokenizer=options.tokenizer)
    vocabulary = SHAPES[options.shape].vocab_size
    if workload.largest_id >= vocabulary:
        raise EffaceError(
            f"--tokenizer {options.tokenizer}: token id {workload.largest_id} is outside the vocabulary of shape "
            f"{options.shape}, {vocabulary}; take a smaller tokenizer or another shape"
        )
    return workload


def _isolated(contender: Contender, setting: Setting, examples: Sequence[Example]) -> Measured | str:
    """Measure in a fresh process; a sentence where the machine has too little memory for it."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(measure, contender, setting, examples).result()
        except torch.OutOfMemoryError:
            return "does not fit into the device's memory"
        except BrokenProcessPool:
            return "the process was killed, most likely for want of memory"


def _device_name(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


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
