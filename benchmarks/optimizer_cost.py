#!/usr/bin/env python3
"""What a step of 8-bit AdamW costs without the gradients: efface's, over flat buffers, and torchao's, per parameter.

    python benchmarks/optimizer_cost.py                      # 24 layers of a tiny Llama, on a GPU if there is one
    python benchmarks/optimizer_cost.py --shape 1b --json    # the number of layers is that of the shape

Each contender runs in a new process with an empty cache of compiled code.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, Literal

import torch

from isolation import run_in_subprocess
from machine import describe_machine
from options import positive
from shapes import SHAPES, Shape, build_model

Contender = Literal["flat", "per parameter"]


@dataclass(frozen=True)
class Cost:
    """Of one contender."""

    parameters: int
    """Number of parameters, not of weights."""
    calls: int
    """Compiled calls in a step."""
    compilations: int
    first_cpu_seconds: float
    """Processor time of the first step, compilation included."""
    cpu_seconds: float
    """Processor time of a later step, the median: on a GPU, that of launching it."""
    seconds: float
    """Wall clock of the same step."""


def measure(contender: Contender, shape: Shape, device: str, repeats: int) -> Cost:
    """Measure one contender. Call it in a new process."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp()
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # its processor time is then that of this process and children
    model = build_model(shape, seed=0, dtype=torch.bfloat16, device=torch.device(device))
    optimizer = _optimizer(contender, model)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    calls = _count_calls(optimizer)
    first, _ = _timed(optimizer, device)
    in_first_step = len(calls)
    later = [_timed(optimizer, device) for _ in range(repeats)]
    return Cost(
        parameters=len(list(model.parameters())),
        calls=in_first_step,
        compilations=int(torch._dynamo.utils.counters["stats"]["unique_graphs"]),
        first_cpu_seconds=first,
        cpu_seconds=median(cpu for cpu, _ in later),
        seconds=median(wall for _, wall in later),
    )


def _optimizer(contender: Contender, model: Any) -> Any:
    from efface.train.optimizer.adamw8bit import AdamW8bit
    from efface.train.optimizer.optimizer import decay_groups

    groups = decay_groups(model, 0.01)
    if contender == "flat":
        return AdamW8bit(groups, lr=1e-5)
    from torchao.optim import AdamW8bit as PerParameter

    return PerParameter(groups, lr=1e-5, bf16_stochastic_round=True)


def _count_calls(_optimizer: Any) -> list[None]:
    """A list that grows with each function that an optimizer compiles and calls; torch.compile is called each time."""
    calls: list[None] = []
    compile_function = torch.compile

    def counted(*arguments: Any, **settings: Any) -> Any:
        calls.append(None)
        return compile_function(*arguments, **settings)

    torch.compile = counted
    return calls


def _timed(optimizer: Any, device: str) -> tuple[float, float]:
    """Processor time, with that of compilers, and wall clock of a step."""
    if device == "cuda":
        torch.cuda.synchronize()
    before, start = os.times(), time.perf_counter()
    optimizer.step()
    after = os.times()
    if device == "cuda":
        torch.cuda.synchronize()
    return sum(after[:4]) - sum(before[:4]), time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, help="default: tiny with 24 layers")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=positive, default=5, help="steps, of which the median is reported")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    shape = SHAPES[options.shape] if options.shape else replace(SHAPES["tiny"], num_hidden_layers=24)
    rows: dict[str, Any] = {}
    for contender in ("flat", "per parameter"):
        measured = run_in_subprocess(measure, contender, shape, options.device, options.repeats)
        rows[contender] = {"failed": measured} if isinstance(measured, str) else asdict(measured)
    report = {**rows, "shape": asdict(shape), **describe_machine(options.device)}
    print(json.dumps(report) if options.json else _as_text(rows))
    return 0


def _as_text(rows: dict[str, Any]) -> str:
    return "\n".join(
        f"{name}: "
        + ", ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()
        )
        for name, row in rows.items()
    )


if __name__ == "__main__":
    sys.exit(main())
