"""What an objective asks of the model before unlearning, inside a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal, Protocol, TypeVar

import torch

from efface import distributed
from efface.objectives.terms import Reference
from efface.progress.reporter import Reporter, SilentReporter
from efface.reference.hidden_states import CachedHiddenStates, HiddenStateRequest, stored_bytes
from efface.reference.live import LiveReference
from efface.reference.logprobs import CachedLogprobs
from efface.report.number_format import format_bytes
from efface.run.folder import RunFolder
from efface.train import checkpoint
from efface.train.loop import Trainer
from efface.train.micro_batches import TrainingExample

T = TypeVar("T")
_DISK_SHARE = 2
"""States take at most this part of what is free: checkpoints and the model come after them."""


class _ForwardWithReference(Protocol):
    """Reads with the model before unlearning: gives what `compute` makes of it."""

    def __call__(self, compute: Callable[[Any], T]) -> T: ...


def make_reference(
    trainer: Trainer,
    steps: Sequence[Sequence[TrainingExample]],
    folder: RunFolder,
    *,
    model_sha256: str,
    load: Callable[[], Any],
    another: bool = False,
    reporter: Reporter | None = None,
) -> Reference:
    """Log-probabilities and hidden states, computed now or found in `folder`; a model in memory where KL is to ask one.

    `trainer.model` must still be the model before unlearning. `load` loads the reference, whose hash is
    `model_sha256`: that model a second time, which only full fine-tuning with a live KL needs; or `another` model.
    """
    objective = trainer.objective
    beside = cache(load)

    def with_another(compute: Callable[[Any], T]) -> T:
        return compute(beside())

    read: _ForwardWithReference = with_another if another else trainer.parallel_model.forward_no_grad
    made_by = _made_by(trainer, model_sha256)
    with trainer.autocast():  # in the precision that training compares with
        sequences = _logprobs(trainer, steps, folder, made_by, read) if objective.sequence_reference_views else None
        if not objective.needs_distribution:
            return Reference(sequences)
        views, switched_off = objective.distribution_reference_views, trainer.config.lora is not None and not another
        reads = [(example[view], at) for step in steps for example in step for view, at in views]
        way = _kl_mode(trainer, reads, folder, switched_off=switched_off, reporter=reporter or SilentReporter())
        if way == "cached":
            return Reference(sequences, _states(trainer, reads, folder, made_by, read))
    return Reference(sequences, LiveReference(trainer.model if switched_off else beside(), adapter_off=switched_off))


def _made_by(trainer: Trainer, model_sha256: str) -> dict[str, str]:
    return {
        "model": model_sha256,
        "weights": str(next(trainer.model.parameters()).dtype),
        "precision": trainer.precision,
        "device": trainer.device.type,
        "torch": torch.__version__,
    }


def _logprobs(
    trainer: Trainer,
    steps: Sequence[Sequence[TrainingExample]],
    folder: RunFolder,
    made_by: dict[str, str],
    read: _ForwardWithReference,
) -> CachedLogprobs:
    known = (
        CachedLogprobs.load(folder.reference_logprobs, made_by=made_by) if folder.reference_logprobs.is_file() else None
    )
    if known is not None:
        return known
    views = trainer.objective.sequence_reference_views
    seen = [example[view] for step in steps for example in step for view in views]
    logprobs = read(lambda model: CachedLogprobs.compute(model, seen, max_tokens_per_forward=trainer.budget.tokens))
    logprobs.save(folder.reference_logprobs, made_by=made_by)
    return logprobs


def _kl_mode(
    trainer: Trainer, reads: Sequence[HiddenStateRequest], folder: RunFolder, *, switched_off: bool, reporter: Reporter
) -> Literal["cached", "live"]:
    """How KL is to ask, from the settings or from what is free; a run that goes on asks as it did before."""
    chosen = trainer.config.kl_reference
    if chosen != "auto":
        return chosen
    if switched_off:
        return "live"
    if folder.reference_states.is_file():
        return "cached"
    if checkpoint.latest(trainer.checkpoints) is not None:  # written by a run without that file
        return "live"
    needed, free = stored_bytes(trainer.model, reads), distributed.all_gather(shutil.disk_usage(folder.root).free)[0]
    if needed <= free // _DISK_SHARE:
        return "cached"
    reporter.on_warning(
        f"KL compares with a second model in memory: the states of the first would take {format_bytes(needed)} of the "
        f"{format_bytes(free)} that {folder.root} has free; train.kl_reference=cached writes them all the same"
    )
    return "live"


def _states(
    trainer: Trainer,
    reads: Sequence[HiddenStateRequest],
    folder: RunFolder,
    made_by: dict[str, str],
    read: _ForwardWithReference,
) -> CachedHiddenStates:
    path = folder.reference_states
    if path.is_file():
        known = read(lambda model: CachedHiddenStates.load(path, model, made_by=made_by))
        if known is not None:
            return known
    budget = trainer.budget.tokens
    return read(
        lambda model: CachedHiddenStates.compute(model, reads, path, max_tokens_per_forward=budget, made_by=made_by)
    )
