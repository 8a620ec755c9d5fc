"""What an objective asks of the model before unlearning, inside a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

from efface.objectives.terms import Reference
from efface.reference.cached import CachedLogprobs
from efface.reference.live import LiveReference
from efface.run.folder import RunFolder
from efface.train.loop import Trainer
from efface.train.step import Example


def reference_for(
    trainer: Trainer,
    steps: Sequence[Sequence[Example]],
    folder: RunFolder,
    *,
    model_sha256: str,
    load: Callable[[], Any],
    another: bool = False,
) -> Reference:
    """Log-probabilities computed now or found in `folder`; a model in memory for KL alone.

    `trainer.model` must still be the model before unlearning. `load` loads the reference, whose hash is
    `model_sha256`: that model a second time, which only full fine-tuning with KL needs, for adapters are switched off
    instead; or `another` model.
    """
    objective = trainer.objective
    live = cache(load)
    asked = live if another else lambda: trainer.model
    sequences = _logprobs(trainer, steps, folder, model_sha256, asked) if objective.sequence_reference_views else None
    distribution: LiveReference | None = None
    if objective.needs_distribution:
        adapters = trainer.config.lora is not None and not another
        distribution = LiveReference(trainer.model if adapters else live(), adapter_off=adapters)
    return Reference(sequences, distribution)


def _logprobs(
    trainer: Trainer,
    steps: Sequence[Sequence[Example]],
    folder: RunFolder,
    model_sha256: str,
    reference: Callable[[], Any],
) -> CachedLogprobs:
    precision = trainer.accelerator.mixed_precision
    made_by = {"model": model_sha256, "precision": precision, "device": trainer.device.type, "torch": torch.__version__}
    known = CachedLogprobs.load(folder.reference, made_by=made_by) if folder.reference.is_file() else None
    if known is not None:
        return known
    views = trainer.objective.sequence_reference_views
    seen = [example[view] for step in steps for example in step for view in views]
    with trainer.accelerator.autocast():  # in the precision that training compares with
        logprobs = CachedLogprobs.compute(reference(), seen, token_budget=trainer.budget.tokens)
    logprobs.save(folder.reference, made_by=made_by)
    return logprobs
