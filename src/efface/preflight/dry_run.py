"""`--dry-run`: what a run would do. Everything is read and checked as in the run; nothing is trained or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from efface.commands.evaluate import prepare_evaluation
from efface.commands.finetune import prepare_finetuning
from efface.config.commands import EvaluationConfig, FinetuneConfig, RunConfig
from efface.continual.folder import QueueFolder
from efface.continual.prepare import prepare_queue
from efface.data.config import MODEL_ANSWERS
from efface.data.describe import missing_metrics
from efface.evaluation.config import EvaluateConfig
from efface.evaluation.encode import encode_evaluation, warn_about_merged
from efface.evaluation.evaluate import check_before_records
from efface.evaluation.judging.judges import Judges, open_judges
from efface.evaluation.judging.key_fact_judge import KeyFactJudge
from efface.hardware.memory import disk_free
from efface.preflight.training_plan import TrainingPlan, bytes_on_disk, parameter_count, plan_training
from efface.preflight.workload import describe_task
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter
from efface.records import Record
from efface.run.folder import RunFolder
from efface.run.model_answers import max_answer_tokens
from efface.run.preparation.prepare import prepare
from efface.run.selection.epoch_scores import check_epoch_selection
from efface.run.selection.keep_bound import check_keep
from efface.schema import EvaluationSet
from efface.train.batches.sampler import anchor_items


@dataclass(frozen=True)
class DryRun:
    """What a run would do."""

    model: str
    parameters: int
    """Number of the model's parameters."""
    data: str
    """The data, and how many items of it are trained on."""
    limit: int | None
    """Maximum length of a sequence, in tokens; None for no limit."""
    device: str
    out: Path
    bytes_written: int
    """Estimated size of the models and checkpoints, in bytes."""
    bytes_free: int
    """Free space on the disk of `out`, in bytes."""
    training: TrainingPlan | None = None
    scored: dict[str, int] = field(default_factory=dict)
    """Evaluation set -> number of questions; empty where nothing is scored."""
    missing: dict[str, str] = field(default_factory=dict)
    """Metric that will be missing -> reason."""
    downstream: tuple[str, ...] = ()
    """lm-evaluation-harness tasks that are scored before and after."""
    notes: tuple[str, ...] = ()


@quiet_libraries()
def plan_run(
    config: RunConfig, out: Path, *, data_dir: Path | None, resume: bool, reporter: Reporter, evaluated: bool
) -> DryRun:
    """What `efface run` would do, or `efface unlearn`, which evaluates nothing.

    Args:
        config: The settings.
        out: The folder that would be written.
        data_dir: Folder of the benchmarks; None for the default one.
        resume: Whether a run in `out` would be resumed.
        reporter: Receives warnings.
        evaluated: Whether the model would be evaluated.

    Returns:
        The plan.

    Raises:
        EffaceError: As the run would.
    """
    prepared, opened = prepare(
        config, RunFolder(out), data_dir=data_dir, reporter=reporter, resume=resume, placeholder_answers=True
    )
    config = prepared.config
    check_epoch_selection(config, prepared.task if evaluated else None)
    check_keep(config, prepared.task)
    judges = Judges(None, None)
    if evaluated:
        judges = open_judges(config.evaluate, prepared.device, prepared.task.evaluation)
        questions = encode_evaluation(opened.model, prepared.formatter, prepared.task.evaluation, config.evaluate)
        warn_about_merged(questions, config.text.boundary, reporter.on_warning)
    parameters = parameter_count(opened.model)
    training = plan_training(
        config.method,
        opened.model,
        prepared.plan.steps,
        len(anchor_items(prepared.task, config.train)),
        config=config,
        device=prepared.device,
    )
    length = max_answer_tokens(config.evaluate)
    assumed = (
        f"the model has not answered the generic questions yet: each answer counts as {length} words, and every fact "
        "as known"
    )
    return DryRun(
        model=config.model,
        parameters=parameters,
        data=describe_task(prepared.task),
        limit=prepared.formatter.limit,
        device=prepared.manifest.device,
        out=out,
        bytes_written=bytes_on_disk(parameters, opened.source, training, epochs=evaluated and _scores_epochs(config)),
        bytes_free=disk_free(out),
        training=training,
        scored=_scored(prepared.task.evaluation, config.evaluate) if evaluated else {},
        missing=_missing(prepared.task.evaluation, config.evaluate, judges) if evaluated else {},
        downstream=config.downstream.tasks if evaluated and config.downstream else (),
        notes=(assumed,) if config.data.retain == MODEL_ANSWERS else (),
    )


@quiet_libraries()
def plan_queue(config: RunConfig, out: Path, *, data_dir: Path | None, resume: bool, reporter: Reporter) -> DryRun:
    """What `efface run` would do with several forget requests.

    Args:
        config: The settings.
        out: The folder that would be written.
        data_dir: Folder of the benchmarks; None for the default one.
        resume: Whether requests in `out` would be resumed.
        reporter: Receives warnings.

    Returns:
        The plan, with the training of the first request and the scored questions of the last.

    Raises:
        EffaceError: As the run would.
    """
    folder = QueueFolder(out)
    prepared, opened = prepare_queue(
        config, folder, data_dir=data_dir, resume=resume, reporter=reporter, placeholder_answers=True
    )
    config = prepared.config
    requests, first = prepared.requests, prepared.requests[0].task
    sets = [each for task in prepared.tasks for each in task.evaluation]
    judges = open_judges(config.evaluate, prepared.device, sets)
    parameters = parameter_count(opened.model)
    training = plan_training(
        config.method, opened.model, requests[0].steps, len(first.forget), config=config, device=prepared.device
    )
    done = sum(folder.request(each.number).read_results() is not None for each in requests)
    steps = sum(len(each.steps) for each in requests)
    # without keep_models=all, a request's model stays until the next one is saved
    kept = len(requests) if prepared.settings.keep_models == "all" else min(len(requests), 2)
    return DryRun(
        model=config.model,
        parameters=parameters,
        data=describe_task(first),
        limit=opened.formatter.limit,
        device=prepared.manifest.device,
        out=out,
        bytes_written=bytes_on_disk(parameters, opened.source, training, models=kept, epochs=_scores_epochs(config)),
        bytes_free=disk_free(out),
        training=training,
        scored=_scored(requests[-1].task.evaluation, config.evaluate),
        missing=_missing(sets, config.evaluate, judges),
        downstream=config.downstream.tasks if config.downstream else (),
        notes=(
            f"{len(requests)} requests, {done} of them done, {steps:,} optimizer steps in total; the steps "
            "shown are those of the first request, the scored questions those of the last",
        ),
    )


@quiet_libraries()
def plan_finetuning(
    config: FinetuneConfig, out: Path, *, data_dir: Path | None, resume: bool, reporter: Reporter
) -> DryRun:
    """What `efface finetune` would do.

    Args:
        config: The settings.
        out: The folder that would be written.
        data_dir: Folder of the benchmarks; None for the default one.
        resume: Whether a run in `out` would be resumed.
        reporter: Receives warnings.

    Returns:
        The plan.

    Raises:
        EffaceError: As the fine-tuning would.
    """
    prepared = prepare_finetuning(config, RunFolder(out), data_dir=data_dir, resume=resume, reporter=reporter)
    parameters = parameter_count(prepared.opened.model)
    training = plan_training(
        "fine-tuning", prepared.opened.model, prepared.steps, prepared.items, config=config, device=prepared.device
    )
    return DryRun(
        model=config.model,
        parameters=parameters,
        data=f"{prepared.items:,} items to learn",
        limit=prepared.opened.formatter.limit,
        device=prepared.manifest.device,
        out=out,
        bytes_written=bytes_on_disk(parameters, prepared.opened.source, training),
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
    """What `efface evaluate` would do.

    Args:
        config: The settings.
        out: The folder that would be written.
        data_dir: Folder of the benchmarks; None for the default one.
        before: Records of the model before unlearning, to compare with; None to compare with nothing.
        reporter: Receives warnings.

    Returns:
        The plan.

    Raises:
        EffaceError: As the evaluation would.
    """
    prepared = prepare_evaluation(config, RunFolder(out), data_dir=data_dir, reporter=reporter)
    if before is not None:
        check_before_records(prepared.task.evaluation, before, config.evaluate)
    return DryRun(
        model=config.model,
        parameters=parameter_count(prepared.opened.model),
        data=prepared.task.name,
        limit=prepared.opened.formatter.limit,
        device=prepared.manifest.device,
        out=out,
        bytes_written=0,
        bytes_free=disk_free(out),
        scored=_scored(prepared.task.evaluation, config.evaluate),
        missing=_missing(prepared.task.evaluation, config.evaluate, prepared.judges),
    )


def _missing(sets: Sequence[EvaluationSet], config: EvaluateConfig, judges: Judges) -> dict[str, str]:
    judge = judges.judge.name if isinstance(judges.judge, KeyFactJudge) else config.judge
    of_data = missing_metrics(sets, embedder=config.embedder, judge=judge)
    return {str(metric): reason for missing in (of_data, judges.missing) for metric, reason in missing.items()}


def _scored(sets: Sequence[EvaluationSet], config: EvaluateConfig) -> dict[str, int]:
    return {each.name: len(each.items[: config.limit]) for each in sets}


def _scores_epochs(config: RunConfig) -> bool:
    return config.scores_epochs
