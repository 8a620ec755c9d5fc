"""`efface finetune`: make a target model, one that knows what shall be forgotten."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import torch

from efface.data import load_task, load_training_set
from efface.objectives.method import fine_tuning
from efface.objectives.terms import Reference
from efface.run.config import FinetuneConfig
from efface.run.folder import RunFolder
from efface.run.manifest import manifest, training_precision
from efface.run.models import (
    device_for,
    load_model,
    load_tokenizer,
    model_folder,
    model_sha256,
    position_limit,
    save_model,
    stored_dtype,
    with_adapters,
)
from efface.run.reporter import Reporter, Silent
from efface.run.training import train
from efface.schema import Item
from efface.text.forward import check_packing
from efface.text.template import Formatter
from efface.train.config import TrainConfig
from efface.train.examples import fine_tuning_examples
from efface.train.loop import Trainer
from efface.train.plan import schedule


def finetune(
    config: FinetuneConfig,
    out: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Path:
    """Fine-tune on everything the data holds; returns the model's folder, `out`/model.

    Raises `EffaceError` where `out` holds something else, and for settings, data or a model that cannot be used.
    """
    reporter = reporter or Silent()
    device = device_for(config.device)
    items, sources = _items(config, data_dir)
    source = model_folder(config.model)
    tokenizer = load_tokenizer(source)
    model = load_model(source, dtype=torch.float32, device=device)
    check_packing(model)
    formatter = Formatter(tokenizer, config.text, limit=position_limit(model))
    formatter.encode([(item.id, item.question, item.answer) for item in items])  # refuses what does not fit
    folder = RunFolder(out)
    folder.open(config, resume=resume)
    made = manifest(
        seed=config.seed,
        device=device,
        precision=f"weights and optimizer float32, training {training_precision(config.train, device)}",
        data=sources,
        model=config.model,
        model_sha256=model_sha256(source),
    )
    folder.write_manifest(made)
    if folder.model.is_dir():
        return folder.model
    if config.train.lora is not None:
        torch.manual_seed(config.seed)  # the adapter's first weights
        model = with_adapters(model, config.train.lora)
    reporter.stage(f"fine-tuning on {len(items)} questions")
    start = time.perf_counter()
    fit(model, items, formatter, config.train, seed=config.seed, folder=folder, resume=resume, reporter=reporter)
    save_model(model, tokenizer, folder.model, dtype=stored_dtype(source))
    made.seconds["finetune"] = round(time.perf_counter() - start, 3)
    folder.write_manifest(made)
    shutil.rmtree(folder.root / "checkpoints", ignore_errors=True)
    return folder.model


def fit(
    model: Any,
    items: tuple[Item, ...],
    formatter: Formatter,
    config: TrainConfig,
    *,
    seed: int,
    folder: RunFolder,
    resume: bool = False,
    reporter: Reporter,
) -> None:
    """Train `model` in place, where it lies, on the answers of `items`."""
    on_cpu = next(model.parameters()).device.type == "cpu"
    trainer = Trainer(
        model,
        fine_tuning(),
        config,
        schedule(len(items), config),
        seed=seed,
        folder=folder.root,
        device="cpu" if on_cpu else None,
    )
    steps = fine_tuning_examples(items, config, seed, formatter)
    train(trainer, steps, Reference(), folder, resume=resume, reporter=reporter)


def _items(config: FinetuneConfig, data_dir: Path | None) -> tuple[tuple[Item, ...], dict[str, str]]:
    """What to train on, and its sources; where `items` limits it, what will be forgotten comes first."""
    everything = load_training_set(config.data, data_dir=data_dir)
    task = load_task(config.data, data_dir=data_dir)
    if config.items is None:
        return everything, task.sources
    forget = {item.id for item in task.forget}
    ordered = sorted(everything, key=lambda item: item.id not in forget)
    return tuple(ordered[: config.items]), task.sources
