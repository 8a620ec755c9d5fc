"""Operations of a profiler -> groups by purpose."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from torch.autograd import DeviceType

_GROUPS = {
    "attention": r"attention|attn|flash",
    "softmax and loss": r"log_?softmax|softmax|nll_?loss|cross_?entropy|logsumexp|log_?sigmoid|kl_div",
    "matrix multiplications": r"(add|b|badd)?mm|matmul|linear|mkldnn",
    "norms, rotary, activations": r"norm|silu|gelu|rsqrt|tanh|cos|sin|exp|pow|mean|sum|add|sub|mul|div|neg|where",
    "indexing and copies": r"index|embedding|gather|scatter|copy|clone|contiguous|cat|stack|zero|fill|repeat|segment"
    r"|slice|split|select|expand|sort|arange|empty|item|local_scalar|nonzero|memcpy|memset|to_copy|lift|accumulategrad",
}
_PATTERNS = {name: re.compile(rf"(^|[ :_])_?({pattern})", re.IGNORECASE) for name, pattern in _GROUPS.items()}
_OPTIMIZER = re.compile(r"Optimizer\.|adam")
OPTIMIZER, OTHER, BETWEEN = "optimizer", "other", "between operations"
"""`BETWEEN`: time of Python on a CPU; time in which a GPU waits."""


def by_group(events: Iterable[Any], device: str) -> dict[str, float]:
    """Seconds by group, largest first, of a profiler's events (`torch.autograd.profiler_util.FunctionEvent`).

    On a CPU each operation's time excludes that of nested operations; on a GPU it is that of the kernels that it
    started. The group follows from an operation's name, or else from the nearest enclosing operation.
    """
    known = list(events)
    whole = max(each.time_range.end for each in known) - min(each.time_range.start for each in known)
    totals = dict.fromkeys((*_PATTERNS, OPTIMIZER, OTHER), 0.0)
    for event in known:
        if event.device_type == DeviceType.CPU:
            totals[group_of(event)] += _kernel_time(event) if device == "cuda" else event.self_cpu_time_total
    if device == "cuda":
        on_gpu = [each for each in known if each.device_type == DeviceType.CUDA and not is_range(each)]
        totals[OTHER] += max(0.0, sum(each.time_range.elapsed_us() for each in on_gpu) - sum(totals.values()))
    totals[BETWEEN] = max(0.0, whole - sum(totals.values()))
    return {name: 1e-6 * total for name, total in sorted(totals.items(), key=lambda each: -each[1])}


def group_of(event: Any) -> str:
    """The group of an operation."""
    names = [each.name for each in _around(event)]
    if any(_OPTIMIZER.search(name) for name in names):
        return OPTIMIZER
    for name in names:
        for group, pattern in _PATTERNS.items():
            if pattern.search(name):
                return group
    return OTHER


def _around(event: Any) -> Iterator[Any]:
    """The operation and its enclosing operations, from the inside out."""
    while event is not None:
        yield event
        event = event.cpu_parent


def _kernel_time(event: Any) -> float:
    """Microseconds of the kernels that an operation started itself; a named range lists itself."""
    return float(sum(kernel.duration for kernel in event.kernels if kernel.name != event.name))


def is_range(event: Any) -> bool:
    """Whether an event on a GPU is a named range around kernels, not a kernel."""
    return bool(getattr(event, "is_user_annotation", False)) or event.name.startswith(("Optimizer.", "ProfilerStep"))
