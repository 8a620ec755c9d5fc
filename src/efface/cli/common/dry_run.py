"""The plan of a run -> the table that `--dry-run` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from efface.cli.common.options import interruptible

if TYPE_CHECKING:
    from efface.preflight.dry_run import DryRun
    from efface.preflight.training_plan import TrainingPlan
    from efface.progress.reporter import Reporter
    from efface.train.config import TrainConfig


class DryRunFunction(Protocol):
    """A function of `efface.preflight.dry_run` with every argument but the reporter bound."""

    def __call__(self, *, reporter: Reporter) -> DryRun:
        """Read and check everything, and return the plan."""
        ...


def show_dry_run(make_plan: DryRunFunction) -> None:
    """Print what would be done, to which model and data, and which metrics will be missing.

    Raises:
        EffaceError: The run could not start.
    """
    with interruptible("nothing was written"):
        from rich.console import Console

        from efface.progress.console import ConsoleReporter
        from efface.report.terminal.key_values import print_key_values

        console = Console()
        with ConsoleReporter(console) as reporter:
            plan = make_plan(reporter=reporter)
        print_key_values(console, "Dry run: nothing was trained or written", _facts(plan))


def _facts(plan: DryRun) -> Iterator[tuple[str, str]]:
    limit = "" if plan.limit is None else f", up to {plan.limit:,} tokens at once"
    yield "model", f"{plan.model}: {plan.parameters:,} parameters{limit}"
    yield "data", plan.data
    if plan.training is not None:
        yield from _training_facts(plan.training)
    if plan.scored:
        yield "scored", ", ".join(f"{name} {count:,}" for name, count in plan.scored.items())
    for metric, why in plan.missing.items():
        yield "missing", f"{metric}: {why}"
    if plan.downstream:
        yield "downstream", ", ".join(plan.downstream)
    yield "device", plan.device
    yield "out", f"{plan.out}: {_space(plan)}"
    for note in plan.notes:
        yield "note", note


def _training_facts(training: TrainingPlan) -> Iterator[tuple[str, str]]:
    config, plan = training.config, training.schedule
    weights = "adapters" if config.lora else "chosen weights" if config.parameters else "all weights"
    yield "method", f"{training.method}, {weights}: {training.trained:,} parameters are trained"
    yield (
        "steps",
        f"{plan.steps:,} ({plan.warmup_steps:,} of them warm-up) of {config.batch_size:,} items, "
        f"{_length(config)}; learning rate {config.lr:g}, {training.precision}",
    )
    yield "tokens", f"{training.tokens:,} in all steps; the longest sequence has {training.longest:,}"


def _length(config: TrainConfig) -> str:
    return f"{config.epochs:,} epoch(s)" if config.max_steps is None else "as train.max_steps says"


def _space(plan: DryRun) -> str:
    from efface.report.number_format import format_bytes

    free = f"{format_bytes(plan.bytes_free)} free"
    if plan.training is None:
        return free
    needed = f"{format_bytes(plan.bytes_written)} for model and checkpoints"
    return f"{needed}, {free}" if plan.bytes_written < plan.bytes_free else f"{needed}, but only {free}"
