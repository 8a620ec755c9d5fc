#!/usr/bin/env python3
"""How many operations a step launches, by the way in which it computes in bf16.

Their number does not depend on the width of a model, so a narrow one of the same depth is counted, on a CPU.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from efface.models.lora import add_adapters
from efface.objectives.config import ObjectiveConfig
from efface.objectives.method import objective
from efface.objectives.terms import Reference
from efface.packing.support import packing_unsupported_reason
from efface.train.config import LoRAConfig
from efface.train.precision import Computation, computing
from efface.train.step import batch_losses
from machine import versions
from shapes import SHAPES, build_model
from workload import load_workload

_NARROW = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 5120,
}
_WAYS: tuple[Computation, ...] = ("bf16 autocast", "bf16")
_CPU = torch.device("cpu")


class _Counting(TorchDispatchMode):
    """Counts operations that compute something; views and allocations launch nothing."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not (func.is_view or "empty" in func.name())
        return func(*args, **(kwargs or {}))


def count(shape: str, method: str, *, adapters: bool) -> dict[Computation, int]:
    """Operations of the forward and backward pass of one step, for each way.

    Args:
        shape: Name of a shape, whose depth is used.
        method: A method without a reference model.
        adapters: Train adapters on a base in bf16; otherwise all weights, in float32.
    """
    narrow, dtype = replace(SHAPES[shape], **_NARROW), torch.bfloat16 if adapters else torch.float32
    model = build_model(narrow, seed=0, dtype=dtype, device=_CPU)
    if adapters:
        model = add_adapters(model, LoRAConfig(dropout=0.0), seed=0)
    bound = objective(method, ObjectiveConfig())
    examples = load_workload(bound.views, items=1, tokenizer=None).examples
    found: dict[Computation, int] = {}
    for way in _WAYS:
        model.zero_grad()
        with computing(model, way, _CPU):
            packing_unsupported_reason(model)  # checked by forward passes that are not part of a step
        with _Counting() as counting, computing(model, way, _CPU):
            batch_losses(model, bound, examples, Reference(), backward=torch.Tensor.backward)
        found[way] = counting.count
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="1b")
    parser.add_argument("--method", default="idk+ap", help="without a reference model (default idk+ap)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    kinds = {"all weights": False, "adapters": True}
    found = {kind: count(options.shape, options.method, adapters=adapters) for kind, adapters in kinds.items()}
    if options.json:
        print(json.dumps({**found, "shape": options.shape, "method": options.method, "versions": versions()}))
        return 0
    for kind, ways in found.items():
        print(f"{kind}: " + ", ".join(f"{number} operations with {way}" for way, number in ways.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
