"""`efface finetune`: make a target model, one that knows what shall be forgotten."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import torch

from efface.data import load_task, load_training_set
from efface.objectives.method import fine_tuning
from efface.objectives.terms import Reference
from efface.run.adapters import quantization
from efface.run.config import FinetuneConfig
from efface.run.folder import RunFolder
from efface.run.manifest import continued, manifest, training_precision
from efface.run.models import (
    check_weights,
    device_for,
    load_model,
    load_tokenizer,
    model_folder,
    model_sha256,
    peak_memory,
    reset_peak_memory,
    save_model,
)
from efface.run.quiet import quiet_libraries
from efface.run.reporter import Reporter, Silent
from efface.run.training import check_can_train, train, warn_of
from efface.text.forward import check_packing, position_limit
from efface.text.template import Formatter
from efface.train.examples import fine_tuning_examples
from efface.train.plan import schedule


@quiet_libraries()
def finetune(
    config: FinetuneConfig,
    out: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Path:
    """Fine-tune on everything the data holds; returns the model's folder, `out`/model.

    Everything that can be refused is refused before anything is written. Raises `EffaceError` where `out` holds
    something else, for settings, data or a model that cannot be used, and for training that diverges.
    """
    reporter = reporter or Silent()
    folder = RunFolder(out)
    folder.check(config, resume=resume)
    device = device_for(config.device)
    check_can_train(config.train, device)
    reset_peak_memory(device)
    task = load_task(config.data, data_dir=data_dir)
    items = load_training_set(config.data, data_dir=data_dir)
    source = model_folder(config.model)
    tokenizer = load_tokenizer(source)
    model = load_model(source, dtype=torch.float32, device=device, quantization=quantization(config.train, device))
    check_weights(source, model, config.train)
    check_packing(model)
    formatter = Formatter(tokenizer, config.text, limit=position_limit(model))
    steps = fine_tuning_examples(items, config.train, config.seed, formatter)
    warn_of(task, formatter, config.train, items=len(items), reporter=reporter)
    made = manifest(
        seed=config.seed,
        device=device,
        precision=f"weights and optimizer float32, training {training_precision(config.train, device)}",
        data=task.sources,
        model=config.model,
        model_sha256=model_sha256(source),
    )
    if earlier := folder.manifest():
        made = continued(earlier, made)
    folder.start(config, made)
    if folder.model.is_dir():
        reporter.stage(f"fine-tuned already: {folder.model}")
    else:
        reporter.stage(f"fine-tuning on {len(items)} questions")
        start = time.perf_counter()
        model = train(
            model,
            fine_tuning(),
            steps,
            config.train,
            schedule(len(items), config.train),
            seed=config.seed,
            folder=folder,
            reference=lambda _: Reference(),
            resume=resume,
            reporter=reporter,
        )
        save_model(model, tokenizer, folder.model, source=source, name=config.model)
        made.seconds["finetune"] = round(time.perf_counter() - start, 3)
        made.peak_memory_bytes = peak_memory(device)
        folder.write_manifest(made)
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    return folder.model
