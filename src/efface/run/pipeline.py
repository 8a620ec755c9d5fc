"""`efface run`: evaluate, unlearn, evaluate again, score. Each stage writes files, so that a killed run can resume."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from efface.artifacts import Downstream, Results
from efface.config.commands import RunConfig
from efface.config.plugins import custom_metrics
from efface.data.config import MODEL_ANSWERS
from efface.errors import EffaceError
from efface.evaluation.judging.judges import Judges, open_judges
from efface.hardware.device import peak_memory
from efface.main_process import from_main_process
from efface.models.dtypes import evaluation_dtype
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter, SilentReporter
from efface.records import Record
from efface.report.verdict_text import keep_sentence
from efface.run.downstream_stages import DownstreamStages
from efface.run.evaluation_stages import EvaluationStages
from efface.run.folder import RunFolder, claims_folder
from efface.run.metadata.metadata import RunMetadata
from efface.run.metadata.model_card import write_card
from efface.run.preparation.prepare import PreparedRun, prepare
from efface.run.selection.epoch_scores import check_epoch_selection, score_epochs
from efface.run.selection.epoch_snapshots import EpochSnapshots
from efface.run.selection.keep_bound import check_keep, keep_bound
from efface.run.unlearning_stage import unlearn_model
from efface.scores import score_records
from efface.scores.verdict import judge_records, verdict
from efface.train.batches.sampler import anchor_items
from efface.train.batches.schedule import epoch_ends


@quiet_libraries()
@claims_folder(RunFolder)
def run(
    config: RunConfig,
    out: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    before: Mapping[str, Sequence[Record]] | None = None,
    downstream: Downstream | None = None,
    judges: Judges | None = None,
) -> Results:
    """Unlearn, and evaluate before and after. Whatever can be refused is refused before anything is written.

    Args:
        config: The run's settings, with one request.
        out: The run's folder.
        data_dir: Where benchmarks are stored; None for the default.
        resume: Continue a run of the same settings that was stopped in `out`.
        reporter: Gets stages, steps, progress and warnings.
        before: Records of the same model under the same settings, where they were already made: set name -> records,
            in the main process.
        downstream: Scores of the same model on the downstream tasks, where they were already made.
        judges: The models that judge outputs under these settings, where they were already opened.

    Returns:
        The scores before and after unlearning.

    Raises:
        EffaceError: Settings, data or the model cannot be used, or training diverges.
    """
    folder, reporter = RunFolder(out), reporter or SilentReporter()
    prepared, opened = prepare(config, folder, data_dir=data_dir, reporter=reporter, resume=resume)
    config, plan, device = prepared.config, prepared.plan, prepared.device
    check_epoch_selection(config, prepared.task)
    check_keep(config, prepared.task)
    judges = judges or open_judges(config.evaluate, device, prepared.task.evaluation)
    for warning in judges.warnings:
        reporter.on_warning(warning)
    metadata = RunMetadata(folder, config, prepared.manifest, model_answers=prepared.model_answers)
    evaluation = _evaluation_stages(
        config, prepared, folder=folder, judges=judges, metadata=metadata, reporter=reporter
    )
    tasks = _downstream_stages(config, prepared, folder=folder, metadata=metadata, reporter=reporter)
    metrics = custom_metrics(config.plugins)

    evaluation.check(opened.model)  # before the downstream tasks, which take long
    downstream_before = None if tasks is None else tasks.before(opened.model, downstream)
    records_before = evaluation.before(opened.parallel_model, before)
    del opened
    # now: a custom metric may fail
    scores_before = from_main_process(lambda: score_records(records_before, config.definition, metrics))
    snapshots = _epoch_snapshots(config, prepared, folder)
    bound = keep_bound(config, prepared, folder, records_before)
    unlearn_model(
        plan,
        folder,
        device=device,
        resume=resume,
        metadata=metadata,
        reporter=reporter,
        snapshots=snapshots,
        bound=bound,
    )
    kept = None if bound is None else bound.result()
    if snapshots is None:
        trajectory, records_after = None, evaluation.after(records_before)
    else:
        trajectory, records_after = score_epochs(evaluation, snapshots, records_before, config.definition, metrics)
    downstream_results = tasks.results(downstream_before) if tasks and downstream_before else None
    results = from_main_process(
        lambda: Results(
            definition=config.definition,
            method=config.method,
            before=scores_before,
            after=score_records(records_after, config.definition, metrics),
            verdict=verdict(
                judge_records(records_before, prepared.task.refusals),
                judge_records(records_after, prepared.task.refusals),
                own_answers=config.data.retain == MODEL_ANSWERS,
            ),
            trajectory=trajectory,
            downstream=downstream_results,
            keep=kept,
        )
    )
    if kept is not None:
        metadata.add_note(keep_sentence(kept))
    _finish(folder, config, metadata, results, device=device)
    return results


@quiet_libraries()
@claims_folder(RunFolder)
def unlearn(
    config: RunConfig,
    out: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
) -> Path:
    """Unlearn without evaluating.

    Args:
        config: The run's settings, with one request.
        out: The run's folder.
        data_dir: Where benchmarks are stored; None for the default.
        resume: Continue a run of the same settings that was stopped in `out`.
        reporter: Gets stages, steps and warnings.

    Returns:
        The folder of the unlearned model, `out`/model.

    Raises:
        EffaceError: Settings, data or the model cannot be used, or training diverges.
    """
    check_epoch_selection(config, None)
    if config.keep is not None:
        raise EffaceError("keep compares scores before and during unlearning; use efface run, or leave keep out")
    folder, reporter = RunFolder(out), reporter or SilentReporter()
    prepared, opened = prepare(config, folder, data_dir=data_dir, reporter=reporter, resume=resume)
    del opened  # it is loaded again to be trained, in another dtype
    config, plan, device = prepared.config, prepared.plan, prepared.device
    metadata = RunMetadata(folder, config, prepared.manifest, model_answers=prepared.model_answers)
    metadata.start()
    unlearn_model(plan, folder, device=device, resume=resume, metadata=metadata, reporter=reporter, snapshots=None)
    _finish(folder, config, metadata, None, device=device)
    return folder.model


def _evaluation_stages(
    config: RunConfig,
    prepared: PreparedRun,
    *,
    folder: RunFolder,
    judges: Judges,
    metadata: RunMetadata,
    reporter: Reporter,
) -> EvaluationStages:
    return EvaluationStages(
        folder=folder,
        sets=prepared.task.evaluation,
        config=config.evaluate,
        judges=judges,
        formatter=prepared.formatter,
        device=prepared.device,
        dtype=evaluation_dtype(prepared.plan.source, prepared.device, config.evaluate.precision),
        metadata=metadata,
        reporter=reporter,
    )


def _downstream_stages(
    config: RunConfig, prepared: PreparedRun, *, folder: RunFolder, metadata: RunMetadata, reporter: Reporter
) -> DownstreamStages | None:
    if config.downstream is None:
        return None
    return DownstreamStages(
        folder=folder,
        config=config.downstream,
        seed=config.seed,
        text=config.text,
        tokenizer=prepared.plan.tokenizer,
        device=prepared.device,
        dtype=evaluation_dtype(prepared.plan.source, prepared.device, config.evaluate.precision),
        metadata=metadata,
        reporter=reporter,
    )


def _epoch_snapshots(config: RunConfig, prepared: PreparedRun, folder: RunFolder) -> EpochSnapshots | None:
    if not config.scores_epochs:
        return None
    ends = epoch_ends(len(anchor_items(prepared.task, config.train)), config.train)
    return EpochSnapshots(folder.epoch_snapshots, prepared.plan, ends, prepared.device)


def _finish(
    folder: RunFolder, config: RunConfig, metadata: RunMetadata, results: Results | None, *, device: torch.device
) -> None:
    """Write what describes the whole run, the results last: they say that it is complete."""
    metadata.set_peak_memory(peak_memory(device))
    write_card(folder.model, config, metadata.manifest, results)
    if folder.adapter.is_dir():
        write_card(folder.adapter, config, metadata.manifest, results, library="peft")
    if results is not None:
        folder.write_results(results)
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
