#!/usr/bin/env python3
"""Everything that has to be measured on a GPU, in parts of under 8 minutes, compared with the goals.

    python benchmarks/gpu_acceptance.py --part 1 2               # two parts; without --part, all
    python benchmarks/gpu_acceptance.py --part                   # only print the table of what was measured so far
    python benchmarks/gpu_acceptance.py --tiny --device cpu      # a rehearsal of all parts in tiny sizes

Parts: 1 tests and small runs, 2 optimizer steps, 3 whole trainings, 4 evaluation, 5 profiles, 6 quantization codes.
Every measurement is written to the JSON file as soon as it is made; other parts of that file are kept.
Models have random weights, made on the device; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from acceptance import codes, correctness, evaluation, step_costs, timeline, training
from acceptance.goals import GOALS, numbers, status_of, table
from acceptance.sizes import REAL, Sizes, tiny_sizes
from acceptance.stages import Plan, run_stage
from efface.errors import EffaceError
from isolation import run_in_subprocess
from machine import describe_machine
from measure import Device
from record import commit

PARTS: Mapping[int, Sequence[Plan]] = {
    1: (correctness.gpu_tests, correctness.small_runs),
    2: (step_costs.of_1b, step_costs.in_float32, step_costs.of_7b, step_costs.of_135m, step_costs.with_kernels),
    3: (training.full_7b, training.lora_of_7b, training.full_1b),
    4: (evaluation.of_1b, evaluation.of_7b),
    5: (timeline.of_1b, timeline.of_7b, timeline.of_135m),
    6: (codes.of_weights_and_moments,),
}
"""The stages of each part; what a goal needs comes first."""
RESULTS = Path("build/gpu-acceptance.json")
_MINUTES = 7.5
_OPTIONAL = ("peft", "accelerate", "torchao", "bitsandbytes", "rouge-score", "sentence-transformers")
"""Packages without which some measurements are skipped or fail."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; returns 0 if the parts that ran reached all their goals, 1 if not, 2 for a wrong option."""
    options = _parser().parse_args(arguments)
    sizes = tiny_sizes() if options.tiny else REAL
    parts = sorted(set(options.part))
    try:
        report = read_report(options.out, tiny=options.tiny)
        if parts and options.device == "cuda" and not torch.cuda.is_available():
            raise EffaceError("torch sees no CUDA device on this machine; rehearse with --tiny --device cpu")
    except EffaceError as error:
        print(f"gpu_acceptance.py: {error}", file=sys.stderr)
        return 2
    for number in parts:
        run_part(number, report, options.out, sizes=sizes, device=options.device, minutes=options.minutes)
    print(table(report))
    asked = [status_of(goal, report["parts"], tiny=options.tiny) for goal in GOALS if goal.part in parts]
    return 0 if set(asked) <= {"reached", "rehearsed"} else 1


def run_part(number: int, report: dict[str, Any], out: Path, *, sizes: Sizes, device: Device, minutes: float) -> None:
    """Run a part and write each measurement to the file.

    Args:
        number: The part.
        report: The content of the file, with earlier parts; this part is replaced.
        out: The file.
        sizes: How large everything is.
        device: `cuda` or `cpu`.
        minutes: Time for the whole part. What is not measured by then is named in the file.
    """
    measurements: dict[str, Any] = {}
    part = {**_origin(device), "measurements": measurements}
    report["parts"][str(number)] = part
    start = time.monotonic()
    for plan in PARTS[number]:
        left = max(0.0, 60 * minutes - (time.monotonic() - start))
        for name, row in run_stage(plan, sizes, device, seconds=left):
            measurements[name] = row
            part["seconds"] = time.monotonic() - start
            write_report(out, report)
    print(f"part {number}, {part['seconds']:.0f} s\n{numbers(part)}\n", flush=True)


def read_report(path: Path, *, tiny: bool) -> dict[str, Any]:
    """The content of the JSON file; without one, an empty report.

    Raises:
        EffaceError: It is no such file, or has numbers of other sizes.
    """
    if not path.is_file():
        return {"tiny": tiny, "parts": {}}
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        known = isinstance(report["parts"], dict) and isinstance(report["tiny"], bool)
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise EffaceError(f"--out {path} is not a file of this script; give another name")
    if report["tiny"] != tiny:
        raise EffaceError(f"--out {path} has numbers {'of' if report['tiny'] else 'without'} --tiny; give another name")
    return dict(report)


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write the JSON file, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _origin(device: str) -> dict[str, Any]:
    """Machine, versions, commit and time of a part."""
    described: Any = run_in_subprocess(describe_machine, device)  # its name alone takes memory of a GPU
    described["versions"] |= {name: _version(name) for name in _OPTIONAL}
    return {**described, "commit": commit(), "date": datetime.now(UTC).isoformat(timespec="seconds")}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", type=int, nargs="*", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="rehearse in tiny sizes")
    parser.add_argument("--minutes", type=float, default=_MINUTES, help=f"time of each part (default {_MINUTES})")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"JSON file (default {RESULTS})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
