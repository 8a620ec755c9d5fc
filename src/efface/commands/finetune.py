"""`efface finetune`: make a target model, one that knows the forget set."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from efface import termination
from efface.artifacts import Manifest
from efface.config.commands import FinetuneConfig
from efface.data import load_task, load_training_set
from efface.data.sources.documents import chunk_tokens
from efface.files.sums import check_folder
from efface.hardware.device import device_for, peak_memory, reset_peak_memory
from efface.models.auto_optimizer import resolve_optimizer
from efface.models.folder import load_model_config, model_folder
from efface.models.load_parallel import LoadedModel
from efface.models.open import OpenedModel, open_to_train
from efface.models.quantization import check_trainable_weights
from efface.models.save_sharded import save_trained
from efface.objectives.method import fine_tuning
from efface.objectives.terms import Reference
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter, SilentReporter
from efface.run.folder import RunFolder, claims_folder
from efface.run.metadata.manifest import make_manifest, precision, resume_manifest
from efface.run.metadata.metadata import RunMetadata
from efface.run.preparation.starting_adapter import adapter_origin
from efface.run.training import check_can_train, train, warn_before_training
from efface.text.chunks import chunked
from efface.train.batches.examples import fine_tuning_examples
from efface.train.batches.micro_batches import TrainingExample
from efface.train.batches.schedule import last_step, make_schedule
from efface.train.config import TrainConfig


@dataclass(frozen=True)
class FinetuneSetup:
    """A fine-tuning, ready to start."""

    items: int
    """How many items are trained on."""
    opened: OpenedModel
    loaded: LoadedModel
    """The model to fine-tune; training changes it."""
    device: torch.device
    train: TrainConfig
    """With the optimizer resolved."""
    steps: Sequence[Sequence[TrainingExample]]
    """What each optimizer step trains on."""
    manifest: Manifest


@quiet_libraries()
@claims_folder(RunFolder)
def finetune(
    config: FinetuneConfig,
    out: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Path:
    """Fine-tune on all of the data, or on all except what `config.without` names.

    Everything that can be refused is refused before anything is written.

    Args:
        config: The settings.
        out: The folder to write.
        data_dir: Where benchmarks are stored; None for the default.
        resume: Continue a fine-tuning of the same settings that was stopped in `out`.
        reporter: Gets stages, steps and warnings.

    Returns:
        The folder of the fine-tuned model, `out`/model.

    Raises:
        EffaceError: `out` contains something else, settings, data or the model cannot be used, or training diverges.
    """
    reporter, folder = reporter or SilentReporter(), RunFolder(out)
    setup = prepare_finetuning(config, folder, data_dir=data_dir, resume=resume, reporter=reporter)
    metadata = RunMetadata(folder, config, setup.manifest)
    metadata.start()
    if folder.model.is_dir():
        check_folder(folder.model)
        reporter.on_stage(f"fine-tuned already: {folder.model}")
    else:
        reporter.on_stage(f"fine-tuning on {setup.items} questions")
        opened = setup.opened
        with metadata.stage("finetune"), termination.deferrable():
            trained = train(
                setup.loaded,
                fine_tuning(),
                setup.steps,
                setup.train,
                make_schedule(setup.items, config.train),
                seed=config.seed,
                folder=folder,
                device=setup.device,
                reference=lambda _: Reference(),
                resume=resume,
                reporter=reporter,
                last_step=last_step(setup.items, config.train),
            )
            save_trained(
                trained,
                setup.loaded.skeleton,
                opened.tokenizer,
                folder.model,
                source=opened.source,
                name=config.model,
            )
        metadata.set_peak_memory(peak_memory(setup.device))
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    return folder.model


def prepare_finetuning(
    config: FinetuneConfig, folder: RunFolder, *, data_dir: Path | None, resume: bool, reporter: Reporter
) -> FinetuneSetup:
    """Read and check everything that fine-tuning needs; writes nothing.

    Args:
        config: The settings.
        folder: Where the fine-tuning will write.
        data_dir: Where benchmarks are stored; None for the default.
        resume: Whether `folder` may contain a fine-tuning of the same settings.
        reporter: Gets warnings.

    Raises:
        EffaceError: Something cannot be used, or `folder` contains something else.
    """
    folder.check(config, resume=resume)
    device = device_for(config.device)
    check_can_train(config.train, device)
    reset_peak_memory(device)
    task = load_task(config.data, data_dir=data_dir)
    items = load_training_set(config.data, data_dir=data_dir, without=config.without)
    earlier = folder.read_manifest()
    resolved = resolve_optimizer(config.train, load_model_config(model_folder(config.model)), device, earlier=earlier)
    opened, loaded = open_to_train(
        config.model, config.text, resolved, tokenizer=config.tokenizer, device=device, reporter=reporter
    )
    check_trainable_weights(opened.source, opened.model, config.train)
    items = chunked(items, opened.formatter, chunk_tokens(config.data))
    steps = fine_tuning_examples(items, config.train, config.seed, opened.formatter)
    warn_before_training(task, steps, config.train, items=len(items), boundary=config.text.boundary, reporter=reporter)
    manifest = make_manifest(
        seed=config.seed,
        device=device,
        precision=precision(resolved, device),
        optimizer=resolved.optimizer,
        data=task.sources,
        model=config.model,
        model_sha256=opened.sha256,
        tokenizer=opened.named_tokenizer,
        text=opened.formatter.recorded_settings,
        adapter=adapter_origin(config.model, opened, config.train.lora),
    )
    return FinetuneSetup(
        items=len(items),
        opened=opened,
        loaded=loaded,
        device=device,
        train=resolved,
        steps=steps,
        manifest=resume_manifest(earlier, manifest, reporter=reporter),
    )
