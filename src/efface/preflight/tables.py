"""What `efface doctor` found out, for a person. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from efface.preflight.diagnosis import Diagnosis, Forecast, Machine, Measured, Option, Times
from efface.report.number_format import format_bytes, pluralize
from efface.report.terminal.key_values import print_key_values


def print_diagnosis(console: Console, found: Diagnosis) -> None:
    """The machine, what was looked at, and of a run the memory, the disk and the time that it takes."""
    print_key_values(console, "This machine", _machine_facts(found.machine))
    print_key_values(console, "Checks", ((f"{each.level:7} {each.about}", each.text) for each in found.findings))
    if found.forecast is not None:
        print_key_values(console, "Memory and disk, forecast", _forecast_facts(found.forecast, found.measured))
    if found.options:
        print_key_values(console, "Ways to train", map(_way, found.options))
    if found.measured is not None and found.times is not None:
        steps = pluralize(found.measured.steps.count, "step")
        print_key_values(console, f"Time, from {steps}", _time_facts(found.measured, found.times))


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


def _forecast_facts(forecast: Forecast, measured: Measured | None) -> Iterator[tuple[str, str]]:
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
    each = f"{format_bytes(forecast.activations_per_token)} for each of {_at_once(forecast)}"
    yield "activations", f"{format_bytes(forecast.activations)} ({each})"
    yield "logits", format_bytes(forecast.logits)
    compared = f", measured {format_bytes(measured.steps.memory)}" if measured else ""
    yield "in training", f"about {format_bytes(forecast.training)}{compared}"
    cache = f"weights {format_bytes(forecast.evaluated_weights)}, keys and values {format_bytes(forecast.cache)}"
    yield "in evaluation", f"about {format_bytes(forecast.evaluation)} ({cache})"
    checkpoints = f"{pluralize(forecast.checkpoints, 'checkpoint')} of {format_bytes(forecast.checkpoint)}"
    epochs = f", epochs {format_bytes(forecast.epochs)}" if forecast.epochs else ""
    states = f", states of the reference {format_bytes(forecast.states)}" if forecast.states else ""
    yield (
        "disk",
        f"{format_bytes(forecast.disk)} at most ({checkpoints}, model {format_bytes(forecast.saved)}{epochs}{states})",
    )


def _time_facts(measured: Measured, times: Times) -> Iterator[tuple[str, str]]:
    steps = measured.steps
    speed = f"{steps.tokens_per_second:,.0f} tokens/s; the first step took {_duration(steps.first)}"
    if times.answers:
        yield "own answers", f"at most {_duration(times.answers)}"
    yield "unlearning", f"about {_duration(times.unlearning)} ({speed})"
    yield "each evaluation", f"at most {_duration(times.evaluation)}, judges aside"
    yield "in all", f"at most {_duration(times.total)}"


def _way(option: Option) -> tuple[str, str]:
    """A way to train and what it needs."""
    parts = f"weights {format_bytes(option.weights)}, gradients {format_bytes(option.gradients)}, AdamW {format_bytes(option.optimizer)}"
    parts += f", activations {format_bytes(option.activations)} of {_at_once(option)}"
    fit = "fits" if option.fits else "does not fit"
    chosen = ", chosen" if option.chosen else ""
    return option.name, f"{format_bytes(option.training)}, {fit}{chosen} ({option.setting}): {parts}"


def _at_once(needs: Forecast | Option) -> str:
    """The size of the largest forward."""
    how = ", layers computed again" if needs.checkpointing else ""
    return f"{needs.tokens:,} tokens at once{how}"


def _duration(seconds: float) -> str:
    """In the two largest units, such as `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
