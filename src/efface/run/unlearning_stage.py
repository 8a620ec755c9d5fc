"""Unlearning within a run: train the source model and save the result in the run's folder."""

from __future__ import annotations

import torch

from efface import termination
from efface.files.sums import check_folder
from efface.models.load_parallel import LoadedModel, load_reference, load_to_train
from efface.models.save_sharded import save_trained
from efface.objectives.terms import Reference
from efface.progress.reporter import Reporter
from efface.run.evaluation_stages import free_models
from efface.run.folder import RunFolder
from efface.run.metadata.metadata import RunMetadata
from efface.run.preparation.reference_model import make_reference
from efface.run.selection.epoch_snapshots import EpochSnapshots
from efface.run.selection.keep_bound import KeepBound
from efface.run.training import Monitor, train
from efface.run.unlearning_plan import UnlearningPlan
from efface.train.distribution.parallel import ParallelModel
from efface.train.loop import Trainer


def unlearn_model(
    plan: UnlearningPlan,
    folder: RunFolder,
    *,
    device: torch.device,
    resume: bool,
    metadata: RunMetadata,
    reporter: Reporter,
    snapshots: EpochSnapshots | None,
    bound: KeepBound | None = None,
) -> None:
    """Leave the unlearned model in the run's folder, unless it is there already.

    Args:
        plan: What to train, and how.
        folder: Gets the model, checkpoints and metrics.jsonl.
        device: Where to train.
        resume: Continue from the last checkpoint, if there is one.
        metadata: Gets the time that it takes; must be started.
        reporter: Gets the stage and every step.
        snapshots: Stores the weights at the end of each epoch.
        bound: Ends training at the bound of `keep`, and saves the last state within it.

    Raises:
        EffaceError: Training diverges, does not fit into memory, or a file cannot be written.
    """
    if folder.model.is_dir():
        check_folder(folder.model)
        reporter.on_stage(f"unlearned already: {folder.model}")
        return
    reporter.on_stage(f"unlearning with {plan.objective.name}")
    free_models()
    with metadata.stage("unlearn"), termination.deferrable():
        loaded, trained = train_plan(
            plan, folder, device=device, resume=resume, reporter=reporter, snapshots=snapshots, monitor=bound
        )
        if bound is None:
            save_trained(trained, loaded.skeleton, plan.tokenizer, folder.model, source=plan.source, name=plan.model)
            del loaded, trained
        else:
            del loaded, trained
            free_models()
            bound.save(folder.model)
        free_models()


def train_plan(
    plan: UnlearningPlan,
    folder: RunFolder,
    *,
    device: torch.device,
    resume: bool,
    reporter: Reporter,
    snapshots: EpochSnapshots | None = None,
    monitor: Monitor | None = None,
) -> tuple[LoadedModel, ParallelModel]:
    """Load the source model and train it; nothing but the logs and checkpoints of training is written.

    Args:
        plan: What to train, and how.
        folder: Gets checkpoints and metrics.jsonl.
        device: Where to train.
        resume: Continue from the last checkpoint, if there is one.
        reporter: Gets every step.
        snapshots: Stores the weights at the end of each epoch.
        monitor: Looks at the model after each step.

    Returns:
        The model as it was loaded, and distributed after training.

    Raises:
        EffaceError: As `train`.
    """
    loaded = load_to_train(plan.source, plan.config, device)
    trained = train(
        loaded,
        plan.objective,
        plan.steps,
        plan.config,
        plan.schedule,
        seed=plan.seed,
        folder=folder,
        device=device,
        reference=lambda trainer: _reference(trainer, plan, folder, device, reporter),
        resume=resume,
        reporter=reporter,
        snapshots=snapshots,
        adapter=plan.adapter,
        watch=plan.watch,
        monitor=monitor,
        last_step=plan.last_step,
    )
    return loaded, trained


def _reference(
    trainer: Trainer, plan: UnlearningPlan, folder: RunFolder, device: torch.device, reporter: Reporter
) -> Reference:
    separate = plan.reference.name is not None
    reference = make_reference(
        trainer,
        plan.steps,
        folder,
        model_sha256=plan.reference.sha256,
        load=lambda: load_reference(plan.reference.folder, plan.config, device),
        separate=separate,
        reporter=reporter,
    )
    if separate:
        free_models()  # one that was only needed to compute log-probabilities or hidden states
    return reference
