"""Unlearning within a run: train the source model and save the result in the run's folder."""

from __future__ import annotations

import torch

from efface import termination
from efface.models.load_parallel import load_reference, load_to_train
from efface.models.save_sharded import save_trained
from efface.objectives.terms import Reference
from efface.progress.reporter import Reporter
from efface.run.epoch_snapshots import EpochSnapshots
from efface.run.evaluation_stages import free_models
from efface.run.folder import RunFolder
from efface.run.metadata import RunMetadata
from efface.run.reference_model import make_reference
from efface.run.training import train
from efface.run.unlearning_plan import UnlearningPlan
from efface.sums import check_folder
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
        )
        save_trained(trained, loaded.skeleton, plan.tokenizer, folder.model, source=plan.source, name=plan.model)
        del loaded, trained
        free_models()


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
