"""The reference model of a run, and what objectives need of it: log-probabilities, hidden states or the model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Literal, Protocol, TypeVar

import torch

from efface import distributed
from efface.artifacts import Manifest
from efface.config.commands import RunConfig
from efface.errors import EffaceError
from efface.hub import has_tokenizer
from efface.main_process import from_main_process
from efface.models.folder import load_model_config, model_folder, model_sha256
from efface.models.open import OpenedModel
from efface.models.tokenizer import load_tokenizer, model_tokenizer
from efface.objectives.terms import Objective, Reference
from efface.packing.forward import vocabulary_size
from efface.progress.reporter import Reporter, SilentReporter
from efface.reference.hidden_states import CachedHiddenStates, HiddenStateRequest, stored_bytes
from efface.reference.live import LiveReference
from efface.reference.logprobs import CachedLogprobs
from efface.report.number_format import format_bytes
from efface.run.folder import RunFolder
from efface.run.unlearning_plan import ReferenceModel
from efface.train.batches.micro_batches import TrainingExample, examples_of_rank
from efface.train.checkpoints import checkpoint
from efface.train.config import TrainConfig
from efface.train.distribution.parallel import ParallelModel
from efface.train.loop import Trainer

T = TypeVar("T")
_DISK_SHARE = 2
"""Hidden states take at most one part in so many of the free disk: checkpoints and the model need space, too."""


class _ForwardWithReference(Protocol):
    """Calls `compute` with the reference model and returns its result."""

    def __call__(self, compute: Callable[[Any], T]) -> T: ...


def find_reference(config: RunConfig, opened: OpenedModel, objective: Objective) -> ReferenceModel:
    """The reference model of a run: by default the model before unlearning.

    Args:
        config: The run's settings; `reference` names another model.
        opened: The model before unlearning.
        objective: Says what of the reference is compared.

    Raises:
        EffaceError: The reference has another vocabulary than the model.
    """
    if config.reference is None:
        return ReferenceModel(opened.source, opened.sha256, name=None)
    folder = model_folder(config.reference)
    # a folder without a tokenizer has that of the setting `tokenizer`, which is checked to fit
    if config.tokenizer is not None and not has_tokenizer(folder):
        model_tokenizer(folder, config.tokenizer)
    elif load_tokenizer(folder).get_vocab() != opened.tokenizer.get_vocab():
        raise EffaceError(
            f"reference {config.reference} has another vocabulary than model {config.model}; give a model with the "
            "same tokens, such as the one that it was fine-tuned from"
        )
    size, reference_size = vocabulary_size(opened.model), load_model_config(folder).get_text_config().vocab_size
    if objective.needs_distribution and size != reference_size:
        raise EffaceError(
            f"reference {config.reference} gives {reference_size} logits and model {config.model} {size}, and "
            f"{objective.name} compares all of them; give a model that was not resized"
        )
    return ReferenceModel(folder, model_sha256(folder), name=config.reference)


def check_same_reference(reference: ReferenceModel, earlier: Manifest) -> None:
    """Refuse to continue training with another reference model.

    Args:
        reference: The reference model now.
        earlier: The manifest of the run that is resumed.

    Raises:
        EffaceError: The reference model has changed since the run started.
    """
    if not set(reference.notes) <= set(earlier.notes):
        raise EffaceError(
            f"--resume: reference {reference.name} has changed since the run started; start over in another --out"
        )


def make_reference(
    trainer: Trainer,
    steps: Sequence[Sequence[TrainingExample]],
    folder: RunFolder,
    *,
    model_sha256: str,
    load: Callable[[], ParallelModel],
    separate: bool = False,
    reporter: Reporter | None = None,
) -> Reference:
    """Log-probabilities and hidden states, computed now or read from `folder`; or a live model for KL.

    `trainer.model` must still be the model before unlearning.

    Args:
        trainer: Has the objective, the model and the settings.
        steps: What each optimizer step trains on.
        folder: Where the files are.
        model_sha256: Hash of the reference model.
        load: Loads the reference model. Called only for a `separate` one, or for a live KL with full fine-tuning.
        separate: Whether the reference is another model than the one before unlearning.
        reporter: Gets a warning where the disk is too small for hidden states.

    Raises:
        EffaceError: A file cannot be written.
    """
    objective = trainer.objective
    load_once = cache(load)

    def with_separate(compute: Callable[[Any], T]) -> T:
        return load_once().forward_in_step(compute)

    read: _ForwardWithReference = with_separate if separate else trainer.parallel_model.forward_in_step
    made_by = _made_by(trainer, model_sha256)
    with trainer.computing():  # in the precision that training compares with
        sequences = _logprobs(trainer, steps, folder, made_by, read) if objective.sequence_reference_views else None
        if not objective.needs_distribution:
            return Reference(sequences)
        views, adapter_off = objective.distribution_reference_views, _can_switch_off(trainer.config) and not separate
        rank, world_size = distributed.rank(), distributed.world_size()
        computed = chain.from_iterable(examples_of_rank(step, rank, world_size) for step in steps)
        reads = [(example[view], at) for example in computed for view, at in views]
        mode = _kl_mode(trainer, reads, folder, adapter_off=adapter_off, reporter=reporter or SilentReporter())
        if mode == "cached":
            return Reference(sequences, _states(trainer, reads, folder, made_by, read))
    if adapter_off:
        return Reference(sequences, LiveReference(trainer.model, adapter_off=True))
    reference = load_once()
    forward = reference.forward_no_grad if reference.is_sharded else None
    return Reference(sequences, LiveReference(reference.model, forward=forward))


def _can_switch_off(config: TrainConfig) -> bool:
    """Whether the trained model without its adapters is the model before unlearning."""
    return config.lora is not None and config.lora.adapter == "new"


def _made_by(trainer: Trainer, model_sha256: str) -> dict[str, str]:
    return {
        "model": model_sha256,
        "weights": str(next(trainer.model.parameters()).dtype),
        "precision": _precision(trainer),
        "device": trainer.device.type,
        "torch": torch.__version__,
    }


def _precision(trainer: Trainer) -> str:
    """What decides the numbers; adapters compute the same with and without autocast."""
    if trainer.computation == "float32":
        return "no"
    return "bf16" if trainer.config.autocast else "bf16 without autocast"


def _logprobs(
    trainer: Trainer,
    steps: Sequence[Sequence[TrainingExample]],
    folder: RunFolder,
    made_by: dict[str, str],
    read: _ForwardWithReference,
) -> CachedLogprobs:
    path = folder.reference_logprobs
    # the others may not see the file
    known = from_main_process(lambda: CachedLogprobs.load(path, made_by=made_by) if path.is_file() else None)
    if known is not None:
        return known
    views = trainer.objective.sequence_reference_views
    seen = [example[view] for step in steps for example in step for view in views]
    logprobs = read(lambda model: CachedLogprobs.compute(model, seen, max_tokens_per_forward=trainer.budget.tokens))
    logprobs.save(path, made_by=made_by)
    return logprobs


def _kl_mode(
    trainer: Trainer, reads: Sequence[HiddenStateRequest], folder: RunFolder, *, adapter_off: bool, reporter: Reporter
) -> Literal["cached", "live"]:
    """How KL compares: as set, or by the free disk space; a resumed run compares as it did before."""
    chosen = trainer.config.kl_reference
    if chosen != "auto":
        return chosen
    if from_main_process(lambda: any(trainer.checkpoints.glob("reference*.safetensors"))):
        return "cached"
    # by a run without such a file
    if from_main_process(lambda: checkpoint.latest(trainer.checkpoints)) is not None:
        return "live"
    needed = sum(distributed.all_gather(stored_bytes(trainer.model, reads)))
    free = from_main_process(lambda: shutil.disk_usage(folder.root).free)
    if needed <= free // _DISK_SHARE:
        return "cached"
    instead = "the model without its adapters" if adapter_off else "a second model in memory"
    reporter.on_warning(
        f"KL compares with {instead}: hidden states would take {format_bytes(needed)} of the {format_bytes(free)} that "
        f"{folder.root} has free; train.kl_reference=cached writes them nevertheless"
    )
    return "live"


def _states(
    trainer: Trainer,
    reads: Sequence[HiddenStateRequest],
    folder: RunFolder,
    made_by: dict[str, str],
    read: _ForwardWithReference,
) -> CachedHiddenStates:
    path, budget = folder.reference_states_of(distributed.rank(), distributed.world_size()), trainer.budget.tokens

    def load_or_compute(model: Any) -> CachedHiddenStates:
        known = CachedHiddenStates.load(path, model, made_by=made_by) if path.is_file() else None
        return known or CachedHiddenStates.compute(model, reads, path, max_tokens_per_forward=budget, made_by=made_by)

    return read(load_or_compute)
