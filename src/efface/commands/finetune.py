"""`efface finetune`: make a target model, one that knows what shall be forgotten."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from efface.artifacts import Manifest
from efface.config.commands import FinetuneConfig
from efface.data import load_task, load_training_set
from efface.hardware.device import device_for, peak_memory, reset_peak_memory
from efface.models.auto_optimizer import resolve_optimizer
from efface.models.folder import load_model_config, model_folder
from efface.models.open import OpenedModel, open_model
from efface.models.quantization import check_trainable_weights, quantization_config
from efface.models.save import save_model
from efface.objectives.method import fine_tuning
from efface.objectives.terms import Reference
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter, SilentReporter
from efface.run.folder import RunFolder
from efface.run.manifest import make_manifest, precision, resume_manifest
from efface.run.training import check_can_train, loading_device, train, warn_before_training
from efface.train.config import TrainConfig
from efface.train.examples import fine_tuning_examples
from efface.train.micro_batches import TrainingExample
from efface.train.optimizer import weights_dtype
from efface.train.sampler import make_schedule


@dataclass
class FinetuneSetup:
    """A fine-tuning, ready to start."""

    items: int
    """How many are learned."""
    opened: OpenedModel
    """The model as it came."""
    device: torch.device
    train: TrainConfig
    """How to train, with the optimizer that was settled on."""
    steps: list[list[TrainingExample]]
    manifest: Manifest


@quiet_libraries()
def finetune(
    config: FinetuneConfig,
    out: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Path:
    """Fine-tune on everything the data holds, or on all but what `config.without` names; returns `out`/model.

    Everything that can be refused is refused before anything is written. Raises `EffaceError` where `out` holds
    something else, for settings, data or a model that cannot be used, and for training that diverges.
    """
    reporter, folder = reporter or SilentReporter(), RunFolder(out)
    this = prepare_finetuning(config, folder, data_dir=data_dir, resume=resume, reporter=reporter)
    folder.start(config, this.manifest)
    if folder.model.is_dir():
        reporter.on_stage(f"fine-tuned already: {folder.model}")
    else:
        reporter.on_stage(f"fine-tuning on {this.items} questions")
        start = time.perf_counter()
        model = train(
            this.opened.model,
            fine_tuning(),
            this.steps,
            this.train,
            make_schedule(this.items, config.train),
            seed=config.seed,
            folder=folder,
            device=this.device,
            reference=lambda _: Reference(),
            resume=resume,
            reporter=reporter,
        )
        save_model(model, this.opened.tokenizer, folder.model, source=this.opened.source, name=config.model)
        this.manifest.seconds["finetune"] = round(time.perf_counter() - start, 3)
        this.manifest.peak_memory_bytes = peak_memory(this.device)
        folder.write_manifest(this.manifest)
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    return folder.model


def prepare_finetuning(
    config: FinetuneConfig, folder: RunFolder, *, data_dir: Path | None, resume: bool, reporter: Reporter
) -> FinetuneSetup:
    """Read and check everything that fine-tuning needs; writes nothing. Raises `EffaceError` as `finetune` does."""
    folder.check(config, resume=resume)
    device = device_for(config.device)
    check_can_train(config.train, device)
    reset_peak_memory(device)
    task = load_task(config.data, data_dir=data_dir)
    items = load_training_set(config.data, data_dir=data_dir, without=config.without)
    earlier = folder.read_manifest()
    how = resolve_optimizer(config.train, load_model_config(model_folder(config.model)), device, earlier=earlier)
    dtype, rounding = weights_dtype(how, device.type), quantization_config(how, device)
    place = loading_device(how, device)
    opened = open_model(config.model, config.text, device=place, reporter=reporter, dtype=dtype, quantization=rounding)
    check_trainable_weights(opened.source, opened.model, config.train)
    steps = fine_tuning_examples(items, config.train, config.seed, opened.formatter)
    warn_before_training(task, opened.formatter, config.train, items=len(items), reporter=reporter)
    made = make_manifest(
        seed=config.seed,
        device=device,
        precision=precision(how, device),
        optimizer=how.optimizer,
        data=task.sources,
        model=config.model,
        model_sha256=opened.sha256,
    )
    if earlier:
        made = resume_manifest(earlier, made)
    return FinetuneSetup(items=len(items), opened=opened, device=device, train=how, steps=steps, manifest=made)
