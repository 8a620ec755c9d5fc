"""`--dry-run`: what a run would do. All is read and checked as in the run itself; nothing is trained or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from efface.artifacts import Metric, Record
from efface.commands.evaluate import prepare_evaluation
from efface.commands.finetune import prepare_finetuning
from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.continual.folder import QueueFolder
from efface.continual.prepare import prepare_queue
from efface.data.config import MODEL_ANSWERS
from efface.data.describe import missing_metrics
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.evaluate import check_before_records, check_lengths
from efface.evaluation.judges import Judges, open_judges
from efface.hardware.memory import disk_free
from efface.models.load import stored_dtype
from efface.models.lora import add_adapters
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter
from efface.run.epoch_scores import check_epoch_selection
from efface.run.folder import RunFolder
from efface.run.manifest import training_precision
from efface.run.model_answers import max_answer_tokens
from efface.run.prepare import prepare
from efface.schema import EvaluationSet
from efface.train.config import TrainConfig
from efface.train.sampler import Schedule, earlier_epochs, schedule
from efface.train.step import Example

_BYTES_OF_A_CHECKPOINT = 12
"""For each trained parameter: itself and AdamW's two moments, in float32."""


@dataclass(frozen=True)
class Training:
    """How a model would be trained."""

    method: str
    plan: Schedule
    config: TrainConfig
    trained: int
    """Parameters that change; with adapters, only theirs."""
    tokens: int
    """Read in the forward passes of all steps, those of the reference aside."""
    longest: int
    """Tokens of the longest sequence."""
    precision: str


@dataclass(frozen=True)
class DryRun:
    """What a run would do, and to what."""

    model: str
    parameters: int
    data: str
    """Which data, and how much of it is trained on."""
    limit: int | None
    """Most tokens of a sequence."""
    device: str
    out: Path
    bytes_written: int
    """About; the free space of the disk is `bytes_free`."""
    bytes_free: int
    training: Training | None = None
    scored: dict[str, int] = field(default_factory=dict)
    """Set -> how many questions; empty where nothing is scored."""
    missing: dict[Metric, str] = field(default_factory=dict)
    """Metric that will not be there -> why."""
    downstream: tuple[str, ...] = ()
    """Tasks that are scored before and after."""
    notes: tuple[str, ...] = ()


@quiet_libraries()
def plan_run(
    config: RunConfig, out: Path, *, data_dir: Path | None, resume: bool, reporter: Reporter, evaluated: bool
) -> DryRun:
    """What `run`, or `unlearn` where nothing is to be `evaluated`, would do; raises the same `EffaceError`s."""
    prepared, opened = prepare(
        config, RunFolder(out), data_dir=data_dir, reporter=reporter, resume=resume, placeholder_answers=True
    )
    task, device = prepared.task, prepared.device
    check_epoch_selection(config, task if evaluated else None)
    judges = Judges(None, None)
    if evaluated:
        judges = open_judges(config.evaluate, device)
        check_lengths(opened.model, prepared.formatter, task.evaluation, config.evaluate)
    parameters = _parameters(opened.model)
    steps = prepared.plan.steps
    training = _training(config.method, opened.model, steps, len(task.forget), config=config, device=device)
    answers = (
        f"the model's answers are not generated yet: each counts as {max_answer_tokens(config.evaluate)} short words"
    )
    return DryRun(
        model=config.model,
        parameters=parameters,
        data=f"{task.name}: {len(task.forget):,} to forget, {len(task.retain):,} to keep",
        limit=prepared.formatter.limit,
        device=prepared.manifest.device,
        out=out,
        bytes_written=_bytes_written(parameters, opened.source, training, epochs=evaluated and _by_epoch(config)),
        bytes_free=disk_free(out),
        training=training,
        scored=_scored(task.evaluation, config.evaluate) if evaluated else {},
        missing=_missing(task.evaluation, config.evaluate, judges) if evaluated else {},
        downstream=config.downstream.tasks if evaluated and config.downstream else (),
        notes=(answers,) if config.data.retain == MODEL_ANSWERS else (),
    )


@quiet_libraries()
def plan_queue(config: RunConfig, out: Path, *, data_dir: Path | None, resume: bool, reporter: Reporter) -> DryRun:
    """What `run_queue` would do; raises the same `EffaceError`s. The training is that of the first request's run."""
    folder = QueueFolder(out)
    queue, opened = prepare_queue(
        config, folder, data_dir=data_dir, resume=resume, reporter=reporter, placeholder_answers=True
    )
    requests, first = queue.requests, queue.requests[0].task
    judges = open_judges(config.evaluate, queue.device)
    sets = [each for task in queue.tasks for each in task.evaluation]
    parameters = _parameters(opened.model)
    training = _training(
        config.method, opened.model, requests[0].steps, len(first.forget), config=config, device=queue.device
    )
    done = sum(folder.request(each.number).read_results() is not None for each in requests)
    steps = sum(len(each.steps) for each in requests)
    kept = len(requests) if queue.settings.keep_models == "all" else min(len(requests), 2)  # the last until the next
    return DryRun(
        model=config.model,
        parameters=parameters,
        data=f"{first.name}: {len(first.forget):,} to forget, {len(first.retain):,} to keep",
        limit=opened.formatter.limit,
        device=queue.manifest.device,
        out=out,
        bytes_written=_bytes_written(parameters, opened.source, training, models=kept, epochs=_by_epoch(config)),
        bytes_free=disk_free(out),
        training=training,
        scored=_scored(requests[-1].task.evaluation, config.evaluate),
        missing=_missing(sets, config.evaluate, judges),
        downstream=config.downstream.tasks if config.downstream else (),
        notes=(
            f"{len(requests)} requests, {done} of them done, {steps:,} steps in all; the steps shown are those of "
            "the first, the sets those of the last",
        ),
    )


@quiet_libraries()
def plan_finetuning(
    config: FinetuneConfig, out: Path, *, data_dir: Path | None, resume: bool, reporter: Reporter
) -> DryRun:
    """What `finetune` would do; raises the same `EffaceError`s."""
    this = prepare_finetuning(config, RunFolder(out), data_dir=data_dir, resume=resume, reporter=reporter)
    parameters = _parameters(this.opened.model)
    training = _training("fine-tuning", this.opened.model, this.steps, this.items, config=config, device=this.device)
    return DryRun(
        model=config.model,
        parameters=parameters,
        data=f"{this.items:,} to learn",
        limit=this.opened.formatter.limit,
        device=this.manifest.device,
        out=out,
        bytes_written=_bytes_written(parameters, this.opened.source, training),
        bytes_free=disk_free(out),
        training=training,
    )


@quiet_libraries()
def plan_evaluation(
    config: EvaluationConfig,
    out: Path,
    *,
    data_dir: Path | None,
    before: Mapping[str, Sequence[Record]] | None,
    reporter: Reporter,
) -> DryRun:
    """What `evaluate_model` would do; raises the same `EffaceError`s."""
    this = prepare_evaluation(config, RunFolder(out), data_dir=data_dir, reporter=reporter)
    if before is not None:
        check_before_records(this.task.evaluation, before, config.evaluate)
    check_lengths(this.opened.model, this.opened.formatter, this.task.evaluation, config.evaluate)
    return DryRun(
        model=config.model,
        parameters=_parameters(this.opened.model),
        data=this.task.name,
        limit=this.opened.formatter.limit,
        device=this.manifest.device,
        out=out,
        bytes_written=0,
        bytes_free=disk_free(out),
        scored=_scored(this.task.evaluation, config.evaluate),
        missing=_missing(this.task.evaluation, config.evaluate, this.judges),
    )


def _missing(sets: Sequence[EvaluationSet], config: EvaluateConfig, judges: Judges) -> dict[Metric, str]:
    return {**missing_metrics(sets, embedder=config.embedder, judge=config.judge), **judges.missing}


def _scored(sets: Sequence[EvaluationSet], config: EvaluateConfig) -> dict[str, int]:
    return {each.name: len(each.items[: config.limit]) for each in sets}


def _training(
    method: str,
    model: Any,
    steps: Sequence[Sequence[Example]],
    items: int,
    *,
    config: RunConfig | FinetuneConfig,
    device: torch.device,
) -> Training:
    """Count what would be trained and read; adapters are put into `model`, to count them, too."""
    adapted = model if config.train.lora is None else add_adapters(model, config.train.lora, seed=config.seed)
    lengths = [len(sequence) for step in steps for example in step for sequence in example.values()]
    return Training(
        method=method,
        plan=schedule(items, config.train),
        config=config.train,
        trained=sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad),
        tokens=sum(lengths),
        longest=max(lengths),
        precision=training_precision(config.train, device),
    )


def _parameters(model: Any) -> int:
    count: int = model.num_parameters()  # of rounded weights, which are packed, their true number
    return count


def _by_epoch(config: RunConfig) -> bool:
    return config.evaluate.every is not None


def _bytes_written(parameters: int, source: Path, training: Training, *, models: int = 1, epochs: bool = False) -> int:
    """The models, and the checkpoints: the last one stays until the next is whole; none follows the last step.

    With `epochs`, what was trained by the end of each but the last, and the model of one of them while it is scored.
    """
    every = training.config.save_steps or training.plan.per_epoch
    checkpoints = min((training.plan.steps - 1) // every, 2)
    number = stored_dtype(source).itemsize
    snapshots = earlier_epochs(training.plan, training.config) if epochs else 0
    kept = snapshots * training.trained * (number if training.config.lora is None else torch.float32.itemsize)
    at_once = models + min(snapshots, 1)
    return at_once * parameters * number + checkpoints * training.trained * _BYTES_OF_A_CHECKPOINT + kept
