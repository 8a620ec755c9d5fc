"""`efface evaluate`: ask one model the questions of its data, and score it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from efface.artifacts import Manifest, Scores
from efface.config.commands import EvaluationConfig
from efface.config.plugins import custom_metrics
from efface.data import load_task
from efface.errors import EffaceError
from efface.evaluation.encode import encode_evaluation, warn_about_merged
from efface.evaluation.evaluate import evaluate
from efface.evaluation.journal import remove_journal
from efface.evaluation.judging.judges import Judges, open_judges
from efface.evaluation.record_files import read_record_sets, write_record_sets
from efface.files.atomic import write_json
from efface.files.folders import RunPaths
from efface.hardware.device import device_for, peak_memory, reset_peak_memory
from efface.main_process import from_main_process
from efface.models.dtypes import dtype_name
from efface.models.open import OpenedModel, open_model
from efface.progress.quiet_libraries import quiet_libraries
from efface.progress.reporter import Reporter, SilentReporter
from efface.records import Record, RecordSets
from efface.run.evaluation_stages import open_journal, removed_if_refused
from efface.run.folder import RunFolder, claims_folder
from efface.run.metadata.manifest import make_manifest, resume_manifest
from efface.run.metadata.metadata import RunMetadata
from efface.schema import Task
from efface.scores import score_records


@dataclass(frozen=True)
class EvaluationSetup:
    """An evaluation, ready to start."""

    task: Task
    opened: OpenedModel
    judges: Judges
    device: torch.device
    manifest: Manifest


@quiet_libraries()
@claims_folder(RunFolder)
def evaluate_model(
    config: EvaluationConfig,
    out: Path,
    *,
    data_dir: Path | None = None,
    before: Mapping[str, Sequence[Record]] | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    judges: Judges | None = None,
) -> Scores:
    """Score a model on the evaluation sets of its data; writes records and scores.json to the folder `out`.

    Everything that can be refused is refused before anything is written.

    Args:
        config: The settings.
        out: The folder to write, new or empty.
        data_dir: Where benchmarks are stored; None for the default.
        before: Records of the model before unlearning on the same questions, for the cosine similarity of the
            definition `paper`; None means that the model to evaluate is that model.
        resume: Continue an evaluation of the same settings that was stopped in `out`.
        reporter: Gets the stage, progress and warnings.
        judges: The models that judge outputs under these settings, where they were already opened.

    Raises:
        EffaceError: Settings, data or the model cannot be used.
    """
    reporter, folder = reporter or SilentReporter(), RunFolder(out)
    setup = prepare_evaluation(config, folder, data_dir=data_dir, reporter=reporter, resume=resume, judges=judges)
    if resume and folder.scores.is_file():
        remove_journal(folder.evaluating("all"))
        reporter.on_stage(f"evaluated already: {folder.root}")
        return from_main_process(lambda: _score(config, read_record_sets(folder.records_root)))
    for warning in setup.judges.warnings:
        reporter.on_warning(warning)
    reporter.on_stage(f"evaluating {config.model}")
    metadata = RunMetadata(folder, config, setup.manifest)
    opened, place = setup.opened, folder.evaluating("all")
    journal = open_journal(place, opened.sha256, config.evaluate, device=setup.device, dtype=opened.model.dtype)
    with removed_if_refused(folder, metadata, journal):
        records = opened.parallel_model.forward_in_step(
            lambda model: evaluate(
                model,
                opened.formatter,
                setup.task.evaluation,
                config=config.evaluate,
                judges=setup.judges,
                before=before,
                progress=reporter.on_progress,
                journal=journal,
                on_ready=metadata.start,  # the results of each batch are written from now on
            )
        )
        scores = from_main_process(lambda: _score(config, records))
    metadata.start()
    metadata.set_peak_memory(peak_memory(setup.device))
    write_record_sets(folder.records_root, records)
    write_json(folder.scores, {"schema": 1, "definition": config.definition, **scores.model_dump()})
    journal.remove()
    return scores


def _score(config: EvaluationConfig, records: RecordSets) -> Scores:
    return score_records(records, config.definition, custom_metrics(config.plugins))


def prepare_evaluation(
    config: EvaluationConfig,
    folder: RunFolder,
    *,
    data_dir: Path | None,
    reporter: Reporter,
    resume: bool = False,
    judges: Judges | None = None,
) -> EvaluationSetup:
    """Read and check everything that an evaluation needs; writes nothing.

    Args:
        config: The settings.
        folder: Where the evaluation will write.
        data_dir: Where benchmarks are stored; None for the default.
        reporter: Gets warnings.
        resume: Whether `folder` may contain an evaluation of the same settings.
        judges: The models that judge outputs under these settings; None to open them.

    Raises:
        EffaceError: Something cannot be used, or `folder` contains something else.
    """
    folder.check(config, resume=resume)
    device = device_for(config.device)
    reset_peak_memory(device)
    task = load_task(config.data, data_dir=data_dir)
    for text in task.warnings:
        reporter.on_warning(text)
    random_seed = config.seed if config.weights == "random" else None
    opened = open_model(
        config.model,
        config.text,
        tokenizer=config.tokenizer,
        device=device,
        reporter=reporter,
        evaluate=config.evaluate,
        random_seed=random_seed,
    )
    questions = encode_evaluation(opened.model, opened.formatter, task.evaluation, config.evaluate)
    warn_about_merged(questions, config.text.boundary, reporter.on_warning)
    notes = () if random_seed is None else (f"untrained weights of seed {random_seed} in place of the model's own",)
    manifest = make_manifest(
        seed=config.seed,
        device=device,
        precision=f"evaluation {dtype_name(opened.model.dtype)}",
        data=task.sources,
        plugins=config.plugins,
        model=config.model,
        model_sha256=opened.sha256,
        tokenizer=opened.named_tokenizer,
        text=opened.formatter.recorded_settings,
        notes=notes,
    )
    return EvaluationSetup(
        task=task,
        opened=opened,
        judges=judges or open_judges(config.evaluate, device, task.evaluation),
        device=device,
        manifest=resume_manifest(folder.read_manifest(), manifest, reporter=reporter),
    )


def records_before(path: Path) -> RecordSets:
    """The records of a model before unlearning, made by a run or by an evaluation of that model.

    Args:
        path: The folder of the run or of the evaluation, or the folder that contains the records.

    Raises:
        EffaceError: There are none.
    """
    if not path.is_dir():
        raise EffaceError(f"--before: there is no folder {path}; give that of a run or of an evaluation")
    paths = RunPaths(path)
    for folder in (paths.records("before"), path / "before", paths.records_root):
        if any(folder.glob("*.jsonl")):
            return read_record_sets(folder)
    if paths.manifest.is_file() or not any(path.glob("*.jsonl")):
        raise EffaceError(
            f"--before: {path} has no records of a model before unlearning; give the folder of `efface run`, or of "
            "`efface evaluate` for that model"
        )
    return read_record_sets(path)
