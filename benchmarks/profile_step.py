#!/usr/bin/env python3
"""The parts of the packed step's time, by torch's profiler, and its rate relative to the machine's limit.

python benchmarks/profile_step.py --shape 1b --method idk+ap            # a Markdown table
python benchmarks/profile_step.py --shape 7b --method idk+ap --json     # one JSON object
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

import measure as measuring
from efface.errors import EffaceError
from efface.packing.forward import unwrap_peft
from machine import describe_machine
from measure import Setting
from options import add_step_options, step_setting, step_workload
from step_parts import by_group
from workload import Workload

_WARM_UP = 3
_SIDES = (2048, 4096)
_MULTIPLICATIONS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        report = profiled(step_setting(options), step_workload(options))
    except EffaceError as error:
        print(f"profile_step.py: {error}", file=sys.stderr)
        return 2
    report = {"shape": options.shape, **report}
    print(json.dumps(report) if options.json else as_markdown(report))
    return 0


def profiled(setting: Setting, workload: Workload) -> dict[str, Any]:
    """Seconds of a step and of its groups, and its rate relative to that of the machine."""
    device = torch.device(setting.device)
    prepared = measuring.packed(setting, workload.examples)
    step = measuring.optimizer_step(prepared, setting)
    traffic = measuring.Traffic(prepared.model)
    step()
    traffic.stop()
    for _ in range(_WARM_UP - 1):
        step()
    seconds = median(_seconds(step, device) for _ in range(setting.repeats))
    events = _events(step, setting)
    groups = {name: total / setting.repeats for name, total in by_group(events, setting.device).items()}
    rate = matmul_rate(getattr(torch, setting.dtype), device)
    return {
        "method": setting.method,
        "dtype": setting.dtype,
        "optimizer": setting.optimizer,
        "checkpointing": setting.checkpointing,
        "items": len(workload.examples),
        "tokens": traffic.tokens,
        "seconds": seconds,
        "groups": groups,
        **_relative_rate(prepared.model, traffic.tokens, seconds, rate),
        "threads": torch.get_num_threads(),
        **describe_machine(setting.device),
    }


def matmul_rate(dtype: torch.dtype, device: torch.device, sides: Sequence[int] | None = None) -> float:
    """FLOP/s of the fastest of several square matrix multiplications."""
    best = 0.0
    for side in sides or _SIDES:
        left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        left @ right
        seconds = min(_seconds(lambda a=left, b=right: a @ b, device) for _ in range(_MULTIPLICATIONS))
        best = max(best, 2 * side**3 / seconds)
    return best


def as_markdown(report: dict[str, Any]) -> str:
    """The report for a page: a table of the groups, and a sentence."""
    total = sum(report["groups"].values())
    table = [
        f"| {name} | {1e3 * seconds:.2f} ms | {seconds / total:.1%} |"
        for name, seconds in report["groups"].items()
        if seconds
    ]
    sentence = (
        f"{report['shape']} {report['method']}, {report['dtype']}, {report['device']}: {report['tokens']} tokens in "
        f"{report['seconds']:.4g} s, {report['flops_per_second']:.3g} FLOP/s at 6 N a token, "
        f"{report['share_of_rate']:.1%} of the {report['matmul_rate']:.3g} FLOP/s of a matrix multiplication here; "
        f"{report['share_of_rate_layers']:.1%} if the head is not counted."
    )
    return "\n".join(["| of a step | time | share |", "|---|---|---|", *table, "", sentence])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_step_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _events(step: Callable[[], Any], setting: Setting) -> list[FunctionEvent]:
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if setting.device == "cuda" else [])
    with profile(activities=activities, acc_events=True) as profiler:
        for _ in range(setting.repeats):
            step()
        if setting.device == "cuda":
            torch.cuda.synchronize()
    return list(profiler.events())


def _relative_rate(model: Any, tokens: int, seconds: float, rate: float) -> dict[str, Any]:
    """The step's FLOP/s: 6 for each weight and token, without the embeddings, which are only looked up.

    The head counts at every token, as is customary, though it is read at few; `share_of_rate_layers` leaves it out.
    """
    inner = unwrap_peft(model)
    table, head = inner.get_input_embeddings().weight, inner.get_output_embeddings().weight
    weights = sum(weight.numel() for weight in inner.parameters())
    layers = weights - table.numel() - (0 if head is table else head.numel())
    counted = layers + head.numel()
    flops = 6 * counted * tokens / seconds
    return {
        "weights_counted": counted,
        "flops_per_second": flops,
        "matmul_rate": rate,
        "share_of_rate": flops / rate,
        "share_of_rate_layers": 6 * layers * tokens / seconds / rate,
    }


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
