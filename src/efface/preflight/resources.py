"""Compare what a run needs with the memory and the disk space that are free."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from efface.preflight.diagnosis import Finding, Forecast, Machine, Option
from efface.report.number_format import format_bytes

_SAFE_SHARE = {"cpu": 0.7, "cuda": 0.95}
"""Share of the free memory up to which a run surely fits. A forecast counts tensors. A process may hold 1.4 times as
much, since freed memory is not always given back; on a GPU, micro-batches become smaller if the memory runs out."""


def memory_findings(
    planned: Forecast, options: Sequence[Option], machine: Machine, *, device_type: str, free: int
) -> Iterator[Finding]:
    """Whether the run fits into memory.

    Args:
        planned: What it needs.
        options: The options for training its model, to recommend one that fits.
        machine: The host.
        device_type: Such as `cuda`.
        free: Free memory of the device, in bytes.

    Yields:
        A finding about the device's memory, and a problem where the host's is too small to load the model.
    """
    needed = max(planned.training, planned.evaluation)
    text = f"about {format_bytes(planned.training)} in training and {format_bytes(planned.evaluation)} in evaluation"
    available = f"{format_bytes(free)} are free"
    if needed <= _SAFE_SHARE[device_type] * free:
        yield Finding(level="ok", about="memory", text=f"{text}; {available}")
    elif needed <= free:
        yield Finding(
            level="warning",
            about="memory",
            text=f"{text}, and {available}, which may be too little; {_advice(options)}",
        )
    else:
        evaluation_only = planned.training <= free
        lower = "lower evaluate.max_cache_tokens and evaluate.max_tokens_per_forward"
        remedy = lower if evaluation_only else _advice(options)
        yield Finding(level="problem", about="memory", text=f"{text}, but only {available}; {remedy}")
    if planned.loading > machine.memory_free:
        yield Finding(
            level="problem",
            about="memory",
            text=f"loading the weights takes {format_bytes(planned.loading)} of the host's memory, but only "
            f"{format_bytes(machine.memory_free)} are free; close other programs or use a machine with more memory",
        )


def disk_finding(planned: Forecast, machine: Machine) -> Finding:
    """Whether checkpoints and model fit on the disk of the working directory.

    Args:
        planned: What the run needs.
        machine: The host.

    Returns:
        The finding.
    """
    text = (
        f"{format_bytes(planned.disk)} for checkpoints and model, {format_bytes(machine.disk_free)} free in this folder"
    )
    if planned.disk <= machine.disk_free:
        return Finding(level="ok", about="disk", text=text)
    return Finding(level="problem", about="disk", text=f"{text}; free some space or set --out to another disk")


def _advice(options: Sequence[Option]) -> str:
    """The option that needs least memory, if it fits."""
    smallest = min(options, key=lambda option: option.training)
    if smallest.fits:
        return f"{smallest.setting} needs about {format_bytes(smallest.training)} in training"
    return "use a machine with more memory or a smaller model"
