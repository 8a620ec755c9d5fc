"""Print what `efface doctor` found out. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from efface.preflight.diagnosis import Diagnosis, Forecast, Machine, MeasuredCosts, Option, ProcessMemory, Times
from efface.report.number_format import format_bytes, pluralize
from efface.report.terminal.key_values import print_key_values


def print_diagnosis(console: Console, diagnosis: Diagnosis) -> None:
    """Print the machine and the findings and, of a run, its memory, disk, training options and time.

    Args:
        console: Where to print.
        diagnosis: What was found out.
    """
    if answer := list(_answer(diagnosis)):
        print_key_values(console, "This run", answer)
    print_key_values(console, "This machine", _machine_facts(diagnosis.machine))
    print_key_values(console, "Checks", ((f"{each.level:7} {each.about}", each.text) for each in diagnosis.findings))
    forecast, measured, times = diagnosis.forecast, diagnosis.measured, diagnosis.times
    if forecast is not None:
        print_key_values(console, "Memory and disk, forecast", _forecast_facts(forecast, measured))
    if diagnosis.options:
        print_key_values(console, "Training options", map(_option_fact, diagnosis.options))
    if diagnosis.processes:
        last = max(each.ranks[1] for each in diagnosis.processes)
        title = f"Memory of {last + 1} processes, without activations" if last else "Memory, without activations"
        print_key_values(console, title, map(_process_fact, diagnosis.processes))
    if measured is not None and times is not None:
        steps = pluralize(measured.steps.count, "step")
        print_key_values(console, f"Time, from {steps}", _time_facts(measured, times))


def _answer(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    """Whether the run fits and how long it takes; nothing without a run."""
    if diagnosis.problems:
        yield "starts", f"no: {diagnosis.problems[0].text}"
    chosen = next((option for option in diagnosis.options if option.chosen), None)
    if chosen is not None:
        need = f"about {format_bytes(chosen.training)} in training ({chosen.name})"
        yield "fits", f"yes, {need}" if chosen.fits else f"no, it needs {need}; see the training options below"
    if diagnosis.times is not None:
        yield "takes", f"at most {_duration(diagnosis.times.total)}"
    elif chosen is not None:
        yield "takes", "not measured; see below, or leave out --steps 0"


def _machine_facts(machine: Machine) -> Iterator[tuple[str, str]]:
    for package, version in machine.versions.items():
        yield package, version or "not installed"
    bf16 = "with" if machine.bf16 else "without"
    for gpu in machine.gpus:
        yield "GPU", f"{gpu.name}, {format_bytes(gpu.free)} of {format_bytes(gpu.total)} free, {bf16} bf16"
    processor = f"{machine.processor}, {machine.cores} cores, {machine.threads} threads in use"
    yield "processor", processor if machine.gpus else f"{processor}, {bf16} bf16"
    yield "memory", f"{format_bytes(machine.memory_free)} of {format_bytes(machine.memory_total)} free"
    yield "disk", f"{format_bytes(machine.disk_free)} free here, {format_bytes(machine.cache_free)} in {machine.cache}"
    yield "hub token", "set" if machine.token else "none; only private and gated models need one"


def _forecast_facts(forecast: Forecast, measured: MeasuredCosts | None) -> Iterator[tuple[str, str]]:
    yield "precision", forecast.precision
    yield (
        "weights",
        f"{format_bytes(forecast.weights)} ({forecast.parameters:,} parameters, {forecast.trained:,} trained)",
    )
    yield "gradients", format_bytes(forecast.gradients)
    yield "AdamW", format_bytes(forecast.optimizer)
    if forecast.copies:
        yield "bf16 copies", format_bytes(forecast.copies)
    if forecast.reference:
        yield "reference", format_bytes(forecast.reference)
    per_token = f"{format_bytes(forecast.activations_per_token)} for each of {_largest_forward(forecast)}"
    yield "activations", f"{format_bytes(forecast.activations)} ({per_token})"
    yield "logits", format_bytes(forecast.logits)
    peak = f", measured {format_bytes(measured.steps.memory)}" if measured else ""
    yield "in training", f"about {format_bytes(forecast.training)}{peak}"
    parts = f"weights {format_bytes(forecast.evaluated_weights)}, KV cache {format_bytes(forecast.cache)}"
    yield "in evaluation", f"about {format_bytes(forecast.evaluation)} ({parts})"
    checkpoints = f"{pluralize(forecast.checkpoints, 'checkpoint')} of {format_bytes(forecast.checkpoint)}"
    epochs = f", epochs {format_bytes(forecast.epochs)}" if forecast.epochs else ""
    states = f", hidden states of the reference {format_bytes(forecast.states)}" if forecast.states else ""
    yield (
        "disk",
        f"{format_bytes(forecast.disk)} at most ({checkpoints}, model {format_bytes(forecast.saved)}{epochs}{states})",
    )


def _time_facts(measured: MeasuredCosts, times: Times) -> Iterator[tuple[str, str]]:
    steps = measured.steps
    speed = f"{steps.tokens_per_second:,.0f} tokens/s; the first step took {_duration(steps.first)}"
    if times.answers:
        yield "retain answers", f"at most {_duration(times.answers)}"
    yield "unlearning", f"about {_duration(times.unlearning)} ({speed})"
    yield "each evaluation", f"at most {_duration(times.evaluation)}, without embedder and judge"
    yield "total", f"at most {_duration(times.total)}"


def _option_fact(option: Option) -> tuple[str, str]:
    """Name of a training option, and what it needs."""
    parts = (
        f"weights {format_bytes(option.weights)}, gradients {format_bytes(option.gradients)}, "
        f"AdamW {format_bytes(option.optimizer)}, activations {format_bytes(option.activations)} of "
        f"{_largest_forward(option)}"
    )
    fit = "fits" if option.fits else "does not fit"
    chosen = ", chosen" if option.chosen else ""
    return option.name, f"{format_bytes(option.training)}, {fit}{chosen} ({option.setting}): {parts}"


def _process_fact(process: ProcessMemory) -> tuple[str, str]:
    """Engine and ranks, and what each of these processes needs."""
    first, last = process.ranks
    ranks = f"rank {first}" if first == last else f"ranks {first} to {last}"
    on_cpu = f" and {format_bytes(process.on_cpu)} on the CPU" if process.on_cpu else ""
    return (
        f"{process.engine}, {ranks}",
        f"{format_bytes(process.training)} in training (weights {format_bytes(process.weights)}, gradients "
        f"{format_bytes(process.gradients)}, AdamW {format_bytes(process.optimizer)}, unsharded at a time "
        f"{format_bytes(process.unsharded)}){on_cpu}, {format_bytes(process.evaluation)} in evaluation",
    )


def _largest_forward(needs: Forecast | Option) -> str:
    """Size of the largest forward, such as `512 tokens per forward`."""
    recomputed = ", layers recomputed" if needs.checkpointing else ""
    return f"{needs.tokens:,} tokens per forward{recomputed}"


def _duration(seconds: float) -> str:
    """A duration in its two largest units, such as `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
