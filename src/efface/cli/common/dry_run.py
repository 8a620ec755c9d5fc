"""What `--dry-run` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from efface.cli.common.options import interruptible

if TYPE_CHECKING:
    from efface.preflight.dry_run import DryRun, Training
    from efface.progress.reporter import Reporter


class DryRunWatcher(Protocol):
    """One of the functions of `efface.preflight.dry_run`, given all but whom to warn."""

    def __call__(self, *, reporter: Reporter) -> DryRun:
        """Read and check everything."""
        ...


def show_dry_run(outlining: DryRunWatcher) -> None:
    """Tell what would be done, to what, and what will be missing."""
    with interruptible("nothing was written"):
        from rich.console import Console

        from efface.progress.console import ConsoleReporter
        from efface.report.terminal.key_values import print_key_values

        console = Console()
        with ConsoleReporter(console) as reporter:
            outline = outlining(reporter=reporter)
        print_key_values(console, "Dry run: nothing was trained or written", _facts(outline))


def _facts(outline: DryRun) -> Iterator[tuple[str, str]]:
    limit = "" if outline.limit is None else f", up to {outline.limit:,} tokens at once"
    yield "model", f"{outline.model}: {outline.parameters:,} parameters{limit}"
    yield "data", outline.data
    if outline.training is not None:
        yield from _training_facts(outline.training)
    if outline.scored:
        yield "scored", ", ".join(f"{name} {count:,}" for name, count in outline.scored.items())
    for metric, why in outline.missing.items():
        yield "missing", f"{metric}: {why}"
    if outline.downstream:
        yield "downstream", ", ".join(outline.downstream)
    yield "device", outline.device
    yield "out", f"{outline.out}: {_space(outline)}"
    for note in outline.notes:
        yield "note", note


def _training_facts(training: Training) -> Iterator[tuple[str, str]]:
    config, plan = training.config, training.plan
    what = "all weights" if config.lora is None else "adapters"
    yield "method", f"{training.method}, {what}: {training.trained:,} parameters are trained"
    yield (
        "steps",
        f"{plan.steps:,} ({plan.warmup:,} of them warm-up) of {config.batch_size:,} items, {config.epochs:,} epoch(s); "
        f"learning rate {config.lr:g}, {training.precision}",
    )
    yield "tokens", f"{training.tokens:,} in all steps; the longest sequence has {training.longest:,}"


def _space(outline: DryRun) -> str:
    from efface.report.number_format import format_bytes

    free = f"{format_bytes(outline.bytes_free)} free"
    if outline.training is None:
        return free
    needed = f"{format_bytes(outline.bytes_written)} for model and checkpoints"
    return f"{needed}, {free}" if outline.bytes_written < outline.bytes_free else f"{needed}, but only {free}"
