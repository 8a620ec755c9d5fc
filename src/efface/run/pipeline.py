"""`efface run`: evaluate, unlearn, evaluate again, score. Each stage leaves files, so that a killed run goes on."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from efface.artifacts import Manifest, Record, Results
from efface.data import load_task
from efface.evaluate.engine import evaluate
from efface.evaluate.judges import Judges, open_judges
from efface.objectives.method import objective
from efface.objectives.terms import Objective, Reference
from efface.reference.cached import CachedLogprobs
from efface.reference.live import LiveReference
from efface.run.card import write_card
from efface.run.config import RunConfig
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
from efface.schema import Task
from efface.scores import score_records
from efface.text.forward import check_packing
from efface.text.template import Formatter
from efface.train.examples import unlearning_examples
from efface.train.loop import Trainer
from efface.train.plan import draws, schedule
from efface.train.step import Example


@dataclass
class _Run:
    """What the stages of one run share."""

    config: RunConfig
    out: RunFolder
    task: Task
    source: Path
    """The folder of the model before unlearning."""
    tokenizer: Any
    formatter: Formatter
    judges: Judges
    device: torch.device
    objective: Objective
    steps: list[list[Example]]
    manifest: Manifest
    reporter: Reporter

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Tell of a stage and add its seconds to the manifest."""
        self.reporter.stage(text)
        start = time.perf_counter()
        yield
        self.manifest.seconds[name] = round(time.perf_counter() - start, 3)


def run(
    config: RunConfig,
    out: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    before: Mapping[str, Sequence[Record]] | None = None,
) -> Results:
    """Unlearn and evaluate before and after, in the folder `out`.

    `before`: records of the same model under the same settings, where they were already made. Everything that
    can be refused is refused before anything is written. Raises `EffaceError` for settings, data or a model
    that cannot be used, and for training that diverges.
    """
    this = _prepare(config, RunFolder(out), data_dir, reporter or Silent(), resume=resume)
    this.out.write_manifest(this.manifest)
    records_before = _records_before(this, before)
    if not this.out.model.is_dir():
        with this.stage("unlearn", f"unlearning with {config.method}"):
            _unlearn(this, resume=resume)
    records_after = _records(this, "after", this.out.model, records_before)
    results = Results(
        definition=config.definition,
        method=config.method,
        before=score_records(records_before, config.definition),
        after=score_records(records_after, config.definition),
    )
    if torch.cuda.is_available():
        this.manifest.peak_memory_bytes = torch.cuda.max_memory_allocated()
    this.out.write_manifest(this.manifest)
    write_card(this.out.model, config, this.manifest, results)
    this.out.write_results(results)
    shutil.rmtree(this.out.root / "checkpoints", ignore_errors=True)
    return results


def _prepare(config: RunConfig, out: RunFolder, data_dir: Path | None, reporter: Reporter, *, resume: bool) -> _Run:
    """Read and check everything the run needs; the last line is the first to write."""
    device = device_for(config.device)
    task = load_task(config.data, data_dir=data_dir)
    for text in task.warnings:
        reporter.warning(text)
    source = model_folder(config.model)
    tokenizer = load_tokenizer(source)
    bound = objective(config.method, config)
    model = load_model(source, dtype=_evaluation_dtype(device), device=device)
    formatter = Formatter(tokenizer, config.text, limit=position_limit(model))
    check_packing(model)
    del model
    steps = unlearning_examples(draws(task, config.train, config.seed), bound.views, formatter)
    if formatter.tokenized_apart:
        reporter.warning(
            f"{len(set(formatter.tokenized_apart))} items were tokenized apart: a token crosses the border between "
            "their prompt and answer; another text.format avoids it"
        )
    judges = open_judges(config.evaluate, device)
    for metric, why in judges.missing.items():
        reporter.warning(f"{metric} will be missing: {why}")
    out.open(config, resume=resume)
    made = manifest(
        seed=config.seed,
        device=device,
        precision=f"weights and optimizer float32, training {training_precision(config.train, device)}, "
        f"evaluation {str(_evaluation_dtype(device)).removeprefix('torch.')}",
        data=task.sources,
        model=config.model,
        model_sha256=model_sha256(source),
    )
    return _Run(config, out, task, source, tokenizer, formatter, judges, device, bound, steps, made, reporter)


def _records_before(this: _Run, given: Mapping[str, Sequence[Record]] | None) -> dict[str, list[Record]]:
    if given is None:
        return _records(this, "before", this.source, None)
    records = {name: list(rows) for name, rows in given.items()}
    this.out.write_records("before", records)
    return records


def _records(
    this: _Run, stage: str, folder: Path, before: Mapping[str, Sequence[Record]] | None
) -> dict[str, list[Record]]:
    """The records of the model in `folder`: those on disk, or made now."""
    known = this.out.records(stage, [each.name for each in this.task.evaluation])
    if known is not None:
        return known
    with this.stage(f"evaluate {stage}", f"evaluating {stage} unlearning"):
        model = load_model(folder, dtype=_evaluation_dtype(this.device), device=this.device)
        records = evaluate(
            model,
            this.formatter,
            this.task.evaluation,
            config=this.config.evaluate,
            judges=this.judges,
            before=before,
            progress=this.reporter.scored,
        )
        this.out.write_records(stage, records)
    del model
    _free()
    return records


def _unlearn(this: _Run, *, resume: bool) -> None:
    config = this.config
    model = load_model(this.source, dtype=torch.float32, device=this.device)
    if config.train.lora is not None:
        torch.manual_seed(config.seed)  # the adapter's first weights
        model = with_adapters(model, config.train.lora)
    trainer = Trainer(
        model,
        this.objective,
        config.train,
        schedule(len(this.task.forget), config.train),
        seed=config.seed,
        folder=this.out.root,
        device="cpu" if config.device == "cpu" else None,
    )
    reference = _reference(this, trainer)
    train(trainer, this.steps, reference, this.out, resume=resume, reporter=this.reporter)
    save_model(trainer.model, this.tokenizer, this.out.model, dtype=stored_dtype(this.source))
    del trainer, model, reference
    _free()


def _reference(this: _Run, trainer: Trainer) -> Reference:
    """What the objective asks of the model before unlearning: computed now, or kept in memory for KL alone.

    The model in training is still the one before unlearning: checkpoints are loaded later.
    """
    lora = this.config.train.lora is not None
    sequences: CachedLogprobs | None = None
    if views := this.objective.sequence_reference_views:
        digest = this.manifest.model_sha256
        if this.out.reference.is_file():
            sequences = CachedLogprobs.load(this.out.reference, model_sha256=digest)
        else:
            seen = [example[view] for step in this.steps for example in step for view in views]
            with trainer.accelerator.autocast():
                sequences = CachedLogprobs.compute(trainer.model, seen, token_budget=trainer.budget)
            sequences.save(this.out.reference, model_sha256=digest)
    distribution: LiveReference | None = None
    if this.objective.needs_distribution:
        frozen = trainer.model if lora else load_model(this.source, dtype=torch.float32, device=this.device)
        distribution = LiveReference(frozen, adapter_off=lora)
    return Reference(sequences=sequences, distribution=distribution)


def _evaluation_dtype(device: torch.device) -> torch.dtype:
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
